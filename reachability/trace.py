"""What a trace shows: by which hops the packets of a cell go, whether they arrive, and behind which hop they stop. Pure.

Silence at a hop is not evidence that packets stop there: a router need not send ICMP. That they do not arrive is shown by a
healthy witness at the destination, or by whoever says that it refuses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reachability.arrival import WitnessReport
from reachability.observation import Hop, Target
from reachability.refusal import is_refusal
from reachability.vocabulary import Reason, State

MOST_TTL, TRIES = 16, 3


def copy_of(ttl: int, attempt: int) -> int:
    """The copy number of a packet, of which the witness reports the lowest that arrived."""
    return (ttl - 1) * TRIES + attempt


def ttl_of(copy: int) -> int:
    """The TTL that a copy was sent with."""
    return copy // TRIES + 1


def ends_the_way(reason: Reason) -> bool:
    """Whether an answer says that no router further on has had the packet."""
    return reason not in {Reason.TTL_EXCEEDED, Reason.NO_RESPONSE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnessed:
    """What the agent on the destination's host says. `least_ttl` is the lowest TTL that arrived."""

    agent: str
    healthy: bool
    arrived: int = 0
    least_ttl: int | None = None
    why: str = ""  # it cannot tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """The end of a trace. `reached` None: not shown either way; `stops_after` is None where they do not stop, or nobody spoke."""

    hops: tuple[Hop, ...]  # up to the one that ended the way
    witness: Witnessed | None
    reached: bool | None
    stops_after: str | None
    text: str


def follow(target: Target, sent: Sequence[Hop], reports: Iterable[WitnessReport]) -> Traced:
    """Put what the source got beside what the destination's witness saw.

    Args:
        target: what was traced; its `witness` is the agent on its host.
        sent: the hops as the source reports them, by rising TTL.
        reports: of the round's witnesses.
    """
    end = _end(target, sent)
    hops = tuple(hop for hop in sent if end is None or hop.ttl <= end.ttl)
    witness = _witnessed(target, reports)
    packets = {hop.ttl: hop.sent for hop in sent}
    routers = [hop.address for hop in hops if hop.reason is Reason.TTL_EXCEEDED]
    if end is not None and is_refusal(end.state, end.reason) and end.address not in {"", target.address}:
        routers.append(end.address)
    arrived = witness is not None and witness.arrived > 0
    too_far = not arrived and any(hop.ttl == MOST_TTL and hop.reason is Reason.TTL_EXCEEDED for hop in hops)
    if too_far or not any(packets.values()):  # then nothing could arrive, and that none did shows nothing
        why = f"the way is longer than {MOST_TTL} hops, or a loop" if too_far else "no packet was seen to leave"
        return Traced(hops=hops, witness=witness, reached=None, stops_after=None, text=why)
    reached = _reached(target, end, witness)
    stops_after = routers[-1] if reached is False and routers else None
    text = "; ".join(filter(None, (_source_says(target, end, hops, witness), _witness_says(target, witness, packets))))
    return Traced(hops=hops, witness=witness, reached=reached, stops_after=stops_after, text=text)


def _end(target: Target, sent: Sequence[Hop]) -> Hop | None:
    """The nearest answer in the endpoint's name; where there is none, the nearest refusal."""
    ends = [hop for hop in sent if ends_the_way(hop.reason)]
    return next((hop for hop in ends if hop.address == target.address), ends[0] if ends else None)


def _witnessed(target: Target, reports: Iterable[WitnessReport]) -> Witnessed | None:
    if not target.witness:
        return None
    report = next((report for report in reports if report.agent == target.witness and not report.late), None)
    if report is None:
        return Witnessed(agent=target.witness, healthy=False, why="it did not report")
    rows = [row for row in report.arrivals if row.target == target.id]
    first = [row.first_copy for row in rows if row.first_copy is not None]
    health = next((health for health in report.health if health.address == target.address), None)
    unwell = "; ".join(report.problems) or "it could not listen there"
    return Witnessed(
        agent=target.witness,
        healthy=health is not None and health.healthy,
        arrived=sum(row.copies for row in rows),
        least_ttl=ttl_of(min(first)) if first else None,
        why=health.why if health is not None else unwell,
    )


def _reached(target: Target, end: Hop | None, witness: Witnessed | None) -> bool | None:
    if witness is not None and witness.arrived:
        return True
    if witness is not None and witness.healthy:
        return False
    if end is None or end.state is State.CLOSED:  # a firewall resets in the endpoint's name
        return None
    return end.address == target.address


def _source_says(target: Target, end: Hop | None, hops: Sequence[Hop], witness: Witnessed | None) -> str:
    unseen = witness is not None and witness.healthy and not witness.arrived
    last = max((hop for hop in hops if hop.reason is Reason.TTL_EXCEEDED), key=lambda hop: hop.ttl, default=None)
    behind = f"at {last.address} (hop {last.ttl}) or behind it" if last is not None else ""
    if end is not None and end.address != target.address:
        return f"{end.address} rejects it at TTL {end.ttl} ({end.reason.value})"
    if end is not None and is_refusal(end.state, end.reason):
        return f"{end.address} itself rejects it, at hop {end.ttl} ({end.reason.value})"
    if end is not None and unseen:
        stops = f"it stops {behind}: " if behind else ""
        return (
            f"{stops}something on the way answers in the name of {target.address} ({end.reason.value}, TTL {end.ttl})"
        )
    if end is not None:
        if end.state is State.OPEN or (witness is not None and witness.arrived):
            return f"{target.address} answers at hop {end.ttl} ({end.reason.value})"
        return f"{target.address}, or a firewall in its name, answers at hop {end.ttl} ({end.reason.value})"
    silent = f"from hop {last.ttl + 1} on nothing answers" if last is not None else "nothing on the way answers"
    if witness is not None and witness.arrived:
        return f"it arrives, and {target.address} does not answer"
    if unseen:
        return f"it stops {behind}: {silent}" if behind else f"it stops on the way: {silent}"
    return f"{silent}, which does not show where it stops: a router need not send ICMP"


def _witness_says(target: Target, witness: Witnessed | None, packets: Mapping[int, int]) -> str:
    if witness is None:
        return f"no agent on {target.address} to tell what arrives"
    if witness.arrived:
        least = witness.least_ttl or 1
        able = sum(sent for ttl, sent in packets.items() if ttl >= least)
        return f"{witness.agent}'s witness saw {witness.arrived} of the {able} packets with TTL {least} and more"
    if witness.healthy:
        return f"{witness.agent}'s witness saw none of the {sum(packets.values())} packets (TTL up to {max(packets)})"
    return f"{witness.agent}'s witness could not tell: {witness.why}"
