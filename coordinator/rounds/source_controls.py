"""Which source controls a round is sent with. Pure but for the estate that it reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from coordinator.rounds.beside import controls_of
from coordinator.state.estate import Estate
from reachability.compare import key_of
from reachability.matrix import Matrix
from reachability.observation import ControlTarget
from reachability.plan import PlanTarget
from reachability.policy import Policy
from reachability.round_data import RoundSpec
from reachability.topology import Topology, is_address
from reachability.vocabulary import ControlKind, Declared, Protocol, RoundKind, Schedule, State

DECLARED_CONTROLS = 3
ANSWERED_CONTROLS = 4
RECENT_S = 120.0


def of_the_round(estate: Estate, spec: RoundSpec, *, again: bool) -> tuple[ControlTarget, ...]:
    """What a declared path lets through, of the pair and beside it, and what has just answered on the pair.

    `again`: in a follow-up.
    """
    if spec.kind is RoundKind.TRACE:
        return ()
    declared = declared_controls(estate.topology, estate.plan, spec, estate.now())
    answered: tuple[ControlTarget, ...] = ()
    if again or spec.schedule is Schedule.SWEEP:
        answered = answered_controls(estate.plan, estate.matrix, spec, estate.clock() - RECENT_S)
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
    plan: Iterable[PlanTarget], matrix: Matrix, spec: RoundSpec, since: float
) -> tuple[ControlTarget, ...]:
    """Endpoints of this very pair that have answered since: when they do no more, these two were banned from each other."""
    found: list[ControlTarget] = []
    for target in plan:
        if (target.agent, target.destination) != (spec.source, spec.destination) or target.elsewhere:
            continue
        for ports, judged in matrix.rows(key_of(target)):
            if judged.evidence.state is State.OPEN and judged.observed_at >= since:
                found.append(
                    ControlTarget(
                        address=target.address,
                        protocol=target.protocol,
                        port=ports.first,
                        kind=ControlKind.PAIR,
                        source=target.source_address,
                    )
                )
    return tuple(found[:ANSWERED_CONTROLS])
