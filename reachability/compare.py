"""Declared against observed: every cell of the plan in exactly one entry, with its result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from reachability.matrix import CellKey, Judged, Matrix, Row
from reachability.overlay import overlay
from reachability.plan import PlanTarget
from reachability.policy import Policy
from reachability.ports import PortSet
from reachability.standing import stands
from reachability.topology import Path, Topology, Waiver
from reachability.verdict import Evidence, Verdict, judge
from reachability.vocabulary import (
    Arrival,
    Declared,
    Protocol,
    Reachability,
    Require,
    Result,
    Schedule,
    State,
    Unproven,
)

STALE_PERIODS = 3
FIRST = 1.0  # epoch seconds; what was observed before, at 0, was at no known time, whatever the clock says
UNSCHEDULED_S = 86400.0  # sweeps that no schedule repeats are taken to be wanted once a day


class Grade(StrEnum):
    """What a green denied cell has shown."""

    NO_PACKET = "no packet"  # that none arrives
    NO_SESSION = "no session"  # that none can be made


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Cells of one key that share declaration, observation and result. `ports` is never empty.

    `judged` is None where nothing was observed (or, in a run, not by that run) that stands under this topology.
    """

    key: CellKey
    source_environment: str
    ports: PortSet
    declared: Declared
    result: Result
    required: bool
    schedule: Schedule = Schedule.CYCLE  # cycle or sweep: which of the two covers it
    service: str | None = None
    path: Path | None = None
    waiver: Waiver | None = None
    judged: Judged | None = None
    grade: Grade | None = None  # of a green

    @property
    def count(self) -> int:
        """How many cells it stands for."""
        return len(self.ports)

    @property
    def pair(self) -> tuple[str, str]:
        """Source and destination environment."""
        return self.source_environment, self.key.destination


def result_of(declared: Declared, require: Require, evidence: Evidence, verdict: Verdict) -> Result:
    """The table of docs/verdict.md, "Against the declaration", before waivers and age."""
    found = verdict.reachability
    match declared:
        case Declared.ALLOWED:
            return Result.PASS
        case Declared.REQUIRED:
            return _required(evidence, found)
        case Declared.DENIED:
            return _denied(require, found)
        case _:
            assert_never(declared)


def _denied(require: Require, found: Reachability) -> Result:
    match found:
        case Reachability.BLOCKED:
            return Result.PASS
        case Reachability.BLOCKED_AT_HOST:
            return Result.FAIL if require is Require.NO_PACKET else Result.PASS
        case Reachability.NO_SESSION:
            return Result.INCONCLUSIVE if require is Require.NO_PACKET else Result.PASS
        case Reachability.REACHABLE | Reachability.ONE_WAY:
            return Result.FAIL
        case Reachability.UNKNOWN:
            return Result.INCONCLUSIVE
        case _:
            assert_never(found)


def _required(evidence: Evidence, found: Reachability) -> Result:
    match found:
        case Reachability.REACHABLE:
            return Result.PASS if evidence.state is State.OPEN else Result.FAIL
        case Reachability.ONE_WAY:
            # A UDP service need not answer: that the packet was seen at its socket is all that can be asked.
            at_socket = evidence.arrival is Arrival.SEEN and evidence.bound
            return Result.PASS if evidence.protocol is Protocol.UDP and at_socket else Result.FAIL
        case Reachability.BLOCKED | Reachability.BLOCKED_AT_HOST | Reachability.NO_SESSION:
            return Result.FAIL
        case Reachability.UNKNOWN:
            return Result.INCONCLUSIVE
        case _:
            assert_never(found)


def grade_of(declared: Declared, result: Result, found: Reachability) -> Grade | None:
    """What a green denied cell has shown; None of any other."""
    if declared is not Declared.DENIED or result is not Result.PASS:
        return None
    return Grade.NO_PACKET if found is Reachability.BLOCKED else Grade.NO_SESSION


def compare(
    topology: Topology,
    plan: Iterable[PlanTarget],
    matrix: Matrix,
    now: datetime,
    *,
    run: str | None = None,
    since: float = math.inf,
) -> tuple[Cell, ...]:
    """Compare what was observed with what is declared, for every cell of the plan.

    Args:
        topology: what is declared.
        plan: what must be there; the cells partition its ports.
        matrix: what was observed last.
        now: for waivers and age, aware.
        run: count only what this verify run observed; all else is not-run.
        since: count what anybody observed from then on, too (epoch seconds).
    """
    policy = Policy(topology, now)
    oldest: dict[Schedule, float] = {}
    if run is None:
        probing, at = topology.probing, now.timestamp()
        oldest[Schedule.CYCLE] = max(FIRST, at - STALE_PERIODS * probing.every_s)
        oldest[Schedule.SWEEP] = max(FIRST, at - STALE_PERIODS * (probing.sweep_every_s or UNSCHEDULED_S))
    return tuple(cell for target in plan for cell in _cells(policy, target, _rows(matrix, target, run, since), oldest))


def in_scope(
    plan: Iterable[PlanTarget], *, sweep: bool, source: str | None = None, destination: str | None = None
) -> tuple[PlanTarget, ...]:
    """What a verify run covers of a plan: without a sweep the cycle's ports alone, between these environments."""
    scoped: list[PlanTarget] = []
    for target in plan:
        if source not in {None, target.source_environment} or destination not in {None, target.destination}:
            continue
        if sweep:
            scoped.append(target)
        elif target.cycle:
            scoped.append(replace(target, sweep=PortSet(), required=target.required & target.cycle))
    return tuple(scoped)


def key_of(target: PlanTarget) -> CellKey:
    """Where the matrix has a target's cells."""
    return CellKey(
        agent=target.agent,
        source_address=target.source_address,
        destination=target.destination,
        address=target.address,
        protocol=target.protocol,
    )


def _elsewhere(protocol: Protocol) -> Judged:
    """What DNS alone says of an environment is observed by nobody: to probe there might be to probe somebody else."""
    evidence = Evidence(protocol=protocol, state=State.ERROR, problem=Unproven.RESOLVED_ELSEWHERE)
    return Judged(evidence=evidence, verdict=judge(evidence), round="")


def _rows(matrix: Matrix, target: PlanTarget, run: str | None, since: float) -> list[Row]:
    rows = matrix.rows(key_of(target))
    return [row for row in rows if run is None or row[1].run == run or row[1].observed_at >= since]


def _cells(policy: Policy, target: PlanTarget, rows: Sequence[Row], oldest: Mapping[Schedule, float]) -> Iterator[Cell]:
    """The cells of a target. What a schedule observed before `oldest` (epoch seconds) is stale; no entry: never."""
    key = key_of(target)
    in_cycle = [(target.cycle, True)]
    required = [(target.required, True)]
    # Numbers stand for paths, waivers and judgements: hashing those costs more than all else here.
    observed = [(ports, number) for number, (ports, _) in enumerate(rows)]
    require = policy.topology.environments[target.destination].require
    elsewhere = _elsewhere(target.protocol) if target.elsewhere else None
    layers = (in_cycle, required, *policy.layers(target), observed)
    for ports, (cycle, must, path, waiver, service, row) in overlay(target.ports, *layers):
        decision = policy.decision(path, waiver, service)
        judged = elsewhere or (None if row is None else rows[row][1])
        schedule = Schedule.CYCLE if cycle else Schedule.SWEEP
        result: Result = Result.NOT_RUN
        grade: Grade | None = None
        if judged is not None:
            result = result_of(decision.declared, require, judged.evidence, judged.verdict)
            if not stands(target, judged, result):
                judged, result = None, Result.NOT_RUN
        if judged is not None:
            if judged is not elsewhere and judged.observed_at < oldest.get(schedule, judged.observed_at):
                result = Result.STALE
            elif result is Result.FAIL and decision.waiver is not None:
                result = Result.WAIVED
            grade = grade_of(decision.declared, result, judged.verdict.reachability)
        yield Cell(
            key=key,
            source_environment=target.source_environment,
            ports=ports,
            declared=decision.declared,
            result=result,
            required=bool(must),
            schedule=schedule,
            service=service,
            path=decision.path,
            waiver=decision.waiver,
            judged=judged,
            grade=grade,
        )
