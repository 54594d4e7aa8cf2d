"""What the API answers, made by pure functions from what the coordinator holds. The shapes are in `coordinator.api.responses`.

`explain` is in `coordinator.api.explain`, what only a verify run has in `coordinator.api.verify`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from msgspec import UNSET

from coordinator.api.agents import words
from coordinator.api.responses import estate, status
from coordinator.json_types import iso
from coordinator.store import Losses
from coordinator.tasks import Cost, Task, costs, tasks
from reachability.compare import Cell
from reachability.coverage import Coverage, coverage, not_tested, total
from reachability.finding import Event, Finding, Kind, Status
from reachability.impact import Impact, of_missing, of_unexpected
from reachability.life import RED
from reachability.plan import PlanTarget
from reachability.ports import text_of
from reachability.topology import Topology
from reachability.vocabulary import Result, Sensitivity

_RISING = tuple(Sensitivity)


def matrix(
    topology: Topology,
    cells: Sequence[Cell],
    *,
    with_cells: bool = False,
    told: tuple[str | None, str | None] = (None, None),
) -> estate.Matrix:
    """`matrix -o json`: one entry per pair of environments; with `--cells` one per range of cells that are alike.

    `told` are the environments from and to which these are wanted; None for all.
    """
    by_pair = {(entry.source, entry.destination): entry for entry in coverage(cells)}
    names = tuple(topology.environments)
    pairs = tuple(
        estate.Pair(
            source=source,
            destination=destination,
            results=results(entry),
            coverage=round(entry.ratio, 6),
        )
        for source in names
        for destination in names
        if source != destination
        for entry in [by_pair.get((source, destination), Coverage(source=source, destination=destination))]
    )
    source, destination = told
    wanted = (
        tuple(
            cell_body(cell)
            for cell in cells
            if source in {None, cell.source_environment} and destination in {None, cell.key.destination}
        )
        if with_cells
        else UNSET
    )
    return estate.Matrix(environments=names, pairs=pairs, cells=wanted)


def results(entry: Coverage) -> estate.Counts:
    """Cells by result."""
    counted = entry.results
    return estate.Counts(
        passed=counted.get(Result.PASS, 0),
        fail=counted.get(Result.FAIL, 0),
        waived=counted.get(Result.WAIVED, 0),
        inconclusive=counted.get(Result.INCONCLUSIVE, 0),
        stale=counted.get(Result.STALE, 0),
        not_run=counted.get(Result.NOT_RUN, 0),
    )


def cell_body(cell: Cell) -> estate.Cell:
    """Cells that are alike. What was not observed is null; `ports` is null for ICMP alone."""
    judged = cell.judged
    return estate.Cell(
        agent=cell.key.agent,
        source=cell.source_environment,
        source_address=cell.key.source_address,
        address=cell.key.address,
        destination=cell.key.destination,
        service=cell.service,
        protocol=cell.key.protocol.value,
        ports=text_of(cell.ports),
        declared=cell.declared.value,
        state=judged.evidence.state.value if judged else None,
        reason=(judged.verdict.reason or judged.evidence.reason.value) if judged else None,
        reachability=judged.verdict.reachability.value if judged else None,
        proof=judged.verdict.proof.value if judged else None,
        result=cell.result.value,
        required=cell.required,
        waiver=cell.waiver.id if cell.waiver is not None else None,
        observed_at=iso(judged.observed_at) if judged else None,
        row=judged.verdict.row if judged else None,
    )


def impact_of(topology: Topology, finding: Finding) -> Impact:
    """Severity, weaknesses and harm as the current topology gives them; of an environment that is gone, the least."""
    return impact_between(topology, finding.kind, (finding.source, finding.destination), finding.services)


def impact_between(topology: Topology, kind: Kind, pair: tuple[str, str], services: Iterable[str] = ()) -> Impact:
    """As `impact_of`, of what fails from one environment to another, whether it is a finding yet or not."""
    source, destination = (topology.environments.get(name) for name in pair)
    if source is None or destination is None:
        return Impact(Sensitivity.LOW, (), ())
    if kind is Kind.MISSING_PATH:
        return of_missing(destination)
    return of_unexpected(source, destination, [destination.services[s] for s in services if s in destination.services])


def finding_body(topology: Topology, finding: Finding) -> estate.Finding:
    """One object of `findings -o json`. Several agents or services are joined by a comma."""
    impact = impact_of(topology, finding)
    return estate.Finding(
        id=finding.id,
        kind=finding.kind.value,
        # In a verify run, which judges alone, a suspicion is open: the run saw it.
        status=(Status.OPEN if finding.status is Status.SUSPECTED else finding.status).value,
        severity=impact.severity.value,
        result=_result(finding).value,
        source=estate.FindingSource(environment=finding.source, agent=",".join(finding.agents)),
        destination=estate.FindingDestination(
            environment=finding.destination,
            service=",".join(finding.services) or None,
            addresses=tuple(finding.addresses),
        ),
        protocol=finding.protocol.value,
        ports=text_of(finding.ports),
        declared=finding.declared.value,
        reachability=finding.reachability.value,
        proof=finding.proof.value,
        reason=finding.reason,
        identified=finding.identified or None,
        cwe=tuple(impact.cwe),
        impact=tuple(impact.words),
        first_seen=iso(finding.first_seen),
        last_seen=iso(finding.last_seen),
        cells=finding.cells,
        flapping=finding.flapping,
        recent=estate.Recent(rounds=len(finding.recent), failing=finding.recent.count(RED), changes=finding.changes),
    )


def _result(finding: Finding) -> Result:
    if finding.status is Status.RESOLVED:
        return Result.PASS
    return Result.WAIVED if finding.status is Status.WAIVED else Result.FAIL


def listed(topology: Topology, found: Iterable[Finding]) -> list[Finding]:
    """The findings that are shown: what stands first, the most severe first, then the newest."""

    def order(finding: Finding) -> tuple[bool, int, float, str]:
        severity = _RISING.index(impact_of(topology, finding).severity)
        return not finding.live, -severity, -finding.last_seen, finding.id

    return sorted((finding for finding in found if finding.listed), key=order)


def findings(topology: Topology, found: Iterable[Finding]) -> tuple[estate.Finding, ...]:
    """`findings -o json`, in the order of `listed`."""
    return tuple(finding_body(topology, finding) for finding in listed(topology, found))


def coverage_body(
    topology: Topology, cells: Sequence[Cell], losses: Mapping[str, Losses] | None = None
) -> estate.Coverage:
    """`coverage -o json`: of all cells, and by pair. Nothing untested is rounded away, and no lost report forgotten."""
    environments = topology.agents()
    return estate.Coverage(
        **_figures(total(cells)),
        pairs=tuple(
            estate.PairCoverage(source=entry.source, destination=entry.destination, **_figures(entry))
            for entry in coverage(cells)
        ),
        not_swept=tuple(
            estate.NotSwept(environment=environment.name, service=service.name, hosts=tuple(service.hosts))
            for environment in topology.environments.values()
            for service in environment.services.values()
            if not service.sweep
        ),
        not_tested=not_tested(topology),
        lost=tuple(
            estate.LostReports(
                agent=agent,
                environment=environments.get(agent),
                batches=lost.batches,
                reports=lost.reports,
                since=iso(lost.since),
                until=iso(lost.until),
                why=words(lost.why),
            )
            for agent, lost in sorted((losses or {}).items())
        ),
    )


class _Figures(TypedDict):
    coverage: float
    cells: int
    required: int
    proven: int
    inconclusive: int
    stale: int
    not_run: int
    no_packet: int
    no_session: int
    beyond_proof: int
    declared_paths: int


def _figures(entry: Coverage) -> _Figures:
    """What a pair and all of them have alike."""
    return {
        "coverage": round(entry.ratio, 6),
        "cells": entry.cells,
        "required": entry.required,
        "proven": entry.proven,
        "inconclusive": entry.unproven.get(Result.INCONCLUSIVE, 0),
        "stale": entry.unproven.get(Result.STALE, 0),
        "not_run": entry.unproven.get(Result.NOT_RUN, 0),
        "no_packet": entry.no_packet,
        "no_session": entry.no_session,
        "beyond_proof": entry.beyond_proof,
        "declared_paths": entry.paths,
    }


def history(events: Iterable[Event], topology: Topology, book: Mapping[str, Finding]) -> tuple[status.Event, ...]:
    """`history -o json`: what happened to findings and to agents' certificates, the newest first.

    They are in the order in which they came: the clock may have been set between.
    """
    return tuple(
        status.Event(
            at=iso(event.at),
            finding=event.finding or None,
            agent=event.agent or None,
            what=event.what,
            text=event.text,
            by=event.by or None,
            severity=impact_of(topology, book[event.finding]).severity.value if event.finding in book else None,
        )
        for event in reversed(tuple(events))
    )


def plan_body(topology: Topology, plan: Sequence[PlanTarget]) -> estate.Plan:
    """`/api/v1/plan`: the lines of every agent's plan, and what they cost."""
    return estate.Plan(
        topology=topology.digest,
        agents={agent: tuple(map(_task, tasks(plan, agent))) for agent in topology.agents()},
        costs=tuple(map(_cost, costs(topology, plan))),
    )


def _task(task: Task) -> estate.Task:
    return estate.Task(
        id=task.id,
        kind=task.kind,
        environment=task.environment,
        host=task.host,
        protocol=task.protocol.value,
        ports=text_of(task.ports) or "",
        schedule=task.schedule,
        witness=task.witness,
        inside=task.inside,
    )


def _cost(cost: Cost) -> estate.Cost:
    return estate.Cost(
        agent=cost.agent,
        schedule=cost.schedule,
        destinations=cost.destinations,
        hosts=cost.hosts,
        cells=cost.cells,
        packets=cost.packets,
        seconds=cost.seconds,
        limit=cost.limit,
    )
