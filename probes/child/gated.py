"""An order held against the host's own bounds before anything of it begins; `probes.gate` holds each packet against them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from probes.child.protocol import Configure
from probes.gate import Gate, NotAllowed
from reachability.allow import AllowList
from reachability.observation import ControlTarget, Observation, SourceReport, Target
from reachability.refused import error_at, kept_of, refusals
from reachability.vocabulary import Protocol, Reason

Send = Callable[[], Awaitable[tuple[SourceReport, float]]]


@dataclass(frozen=True, slots=True)
class Permitted:
    """What may be sent of an order, and what is said of the rest."""

    targets: tuple[Target, ...]
    controls: tuple[ControlTarget, ...]
    refused: tuple[Observation, ...]
    problems: tuple[str, ...]


def in_force(configuration: Configure) -> tuple[AllowList, tuple[str, int]]:
    """What a gate goes by."""
    bounds = configuration.bounds
    allow = AllowList.of(bounds.allow, bounds.deny, bounds.blackout)
    return allow, (configuration.broker_host, configuration.broker_port)


def at_most(asked: int, bound: int) -> int:
    """The lower of the two; a bound of 0 is none."""
    return min(asked, bound) if bound else asked


def permitted(targets: tuple[Target, ...], controls: tuple[ControlTarget, ...], gate: Gate) -> Permitted:
    """In the words of the daemon, which refuses before."""
    refused, said = refusals(targets, gate.refuses)
    reasons = {each: gate.refuses(each.address, _port(each)) for each in controls}
    not_allowed = dict.fromkeys(f"control not allowed: {why}" for why in reasons.values() if why)
    kept = tuple(each for each, why in reasons.items() if not why)
    return Permitted(kept_of(targets, refused), kept, refused, (*said, *not_allowed))


async def carried_out(may: Permitted, nothing: SourceReport, send: Send) -> tuple[SourceReport, float]:
    """The report of what is sent, with what is said of the rest; `nothing`: one that is empty.

    Where a socket refuses after all, nothing of the order proves anything: every target of it is refused.
    """
    report, tail_s = nothing, 0.0
    try:
        if may.targets:
            report, tail_s = await send()
    except Exception as error:
        why = refusal_in(error)
        if not why:
            raise
        refused = tuple(error_at(target, Reason.NOT_ALLOWED, why) for target in may.targets)
        report = replace(nothing, observations=refused, problems=(why,))
    observations, problems = (*report.observations, *may.refused), (*report.problems, *may.problems)
    return replace(report, observations=observations, problems=problems), tail_s


def refusal_in(error: BaseException) -> str:
    """Why a socket refused, where that is what ended tasks; "" where it is not."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(refusal_in, error.exceptions)), "")
    return str(error) if isinstance(error, NotAllowed) else ""


def _port(control: ControlTarget) -> int:
    return 0 if control.protocol is Protocol.ICMP else control.port
