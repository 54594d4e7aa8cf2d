"""Which source controls a round is sent with. Pure but for the estate that it reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from coordinator.rounds.beside import controls_of
from coordinator.state.estate import Estate
from reachability.compare import key_of
from reachability.matrix import Matrix
from reachability.observation import ControlTarget, Target
from reachability.plan import PlanTarget
from reachability.policy import Policy
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.topology import Topology, is_address
from reachability.vocabulary import ControlKind, Declared, Protocol, RoundKind, Schedule, State

DECLARED_CONTROLS = 3
ANSWERED_CONTROLS = 4
RECENT_S = 120.0

Endpoints = tuple[str, str, Protocol]  # from this address to that one by this protocol


def of_the_round(estate: Estate, spec: RoundSpec, *, again: bool) -> tuple[ControlTarget, ...]:
    """What a declared path lets through, of the pair and beside it, and what has just answered on the pair.

    `again`: in a follow-up.
    """
    if spec.kind is RoundKind.TRACE:
        return ()
    declared = declared_controls(estate.topology, estate.plan, spec, estate.now())
    answered: tuple[ControlTarget, ...] = ()
    if again or spec.schedule is Schedule.SWEEP:
        tried = spec.targets if again else ()
        answered = answered_controls(estate.plan, estate.matrix, spec, estate.clock() - RECENT_S, tried)
    return (*declared, *controls_of(spec.beside), *answered)


def declared_controls(
    topology: Topology, plan: Sequence[PlanTarget], spec: RoundSpec, now: datetime
) -> tuple[ControlTarget, ...]:
    """Endpoints of this very pair that a declared path lets through: a control elsewhere does not show a ban here."""
    found: list[ControlTarget] = []
    policy = Policy(topology, now)
    for target in plan:
        if (target.agent, target.destination) != (spec.source, spec.destination) or not is_address(target.address):
            continue
        if target.elsewhere or target.protocol is not Protocol.TCP:
            continue
        for ports, decision in policy.decide(target):
            named = ports & target.service_ports
            if decision.declared is not Declared.DENIED and named:
                found.append(
                    ControlTarget(
                        address=target.address, protocol=target.protocol, port=named.first, kind=ControlKind.DECLARED
                    )
                )
    return tuple(found[:DECLARED_CONTROLS])


def answered_controls(
    plan: Iterable[PlanTarget], matrix: Matrix, spec: RoundSpec, since: float, tried: Iterable[Target] = ()
) -> tuple[ControlTarget, ...]:
    """Endpoints of this very pair that have answered since: when they do no more, these two were banned from each other.

    `tried`: what this round was silent about and tries again. A port that was closed meanwhile is no ban: where others
    of its address and protocol answered, they are the controls.
    """
    silent: dict[Endpoints, PortSet] = {}
    for each in tried:
        at = each.source, each.address, each.protocol
        silent[at] = silent.get(at, PortSet()) | each.ports
    found: list[tuple[Endpoints, ControlTarget]] = []
    sure: set[Endpoints] = set()
    for target in plan:
        if (target.agent, target.destination) != (spec.source, spec.destination) or target.elsewhere:
            continue
        at = target.source_address, target.address, target.protocol
        for ports, judged in matrix.rows(key_of(target)):
            if judged.evidence.state is not State.OPEN or judged.observed_at < since:
                continue
            spoke = ports - silent.get(at, PortSet())
            if spoke:
                sure.add(at)
            control = ControlTarget(
                address=target.address,
                protocol=target.protocol,
                port=(spoke or ports).first,
                kind=ControlKind.PAIR,
                source=target.source_address,
            )
            found.append((at, control))
    controls = [c for at, c in found if at not in sure or c.port not in silent.get(at, PortSet())]
    return tuple(controls[:ANSWERED_CONTROLS])
