"""What a verify run answers: its result, one check per declared path and pair, and what is left unproven."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from coordinator.api.agents import agents_body
from coordinator.api.failing import decisions, failing
from coordinator.api.responses import runs
from coordinator.api.views import cell_body, coverage_body, finding_body, results
from coordinator.json_types import iso
from coordinator.rounds.verify_runs import Run
from coordinator.state.roster import AgentState
from coordinator.state.situation import situation_of
from coordinator.store import Losses
from reachability.compare import Cell
from reachability.coverage import PROVEN, total, untested
from reachability.finding import Finding
from reachability.matrix import CellKey
from reachability.plan import PlanTarget
from reachability.ports import PortSet, text_of
from reachability.situation import Situation
from reachability.topology import Topology
from reachability.uncontrolled import by_outcome
from reachability.vocabulary import Result

_WORST = (Result.FAIL, Result.INCONCLUSIVE, Result.STALE, Result.NOT_RUN, Result.WAIVED, Result.PASS)
REST = "everything else denied"  # the check of a pair that no path of the topology names


def outcome(cells: Sequence[Cell], untested_pairs: Sequence[tuple[str, str]] = ()) -> str:
    """`fail` if a cell fails, else `inconclusive` if a required one is not proven or a pair has none, else `pass`."""
    found = {(cell.result, cell.required) for cell in cells}
    if any(result is Result.FAIL for result, _ in found):
        return Result.FAIL.value
    if not found or untested_pairs or any(required and result not in PROVEN for result, required in found):
        return Result.INCONCLUSIVE.value
    return Result.PASS.value


def verify(
    topology: Topology,
    cells: Sequence[Cell],
    found: Sequence[Finding],
    agents: Iterable[AgentState],
    *,
    started: float,
    finished: float,
    losses: Mapping[str, Losses] | None = None,
    scope: tuple[str | None, str | None] = (None, None),
    reused: tuple[str, float] | None = None,
    with_cells: bool = False,
) -> runs.Verified:
    """`verify -o json`: this run judged alone.

    Args:
        topology: what is declared.
        cells: of this run, by `compare(..., run=...)` over the plan `in_scope`.
        found: every finding of the book; those that share a failing or waived cell with this run are shown.
        agents: the roster.
        started: epoch seconds.
        finished: epoch seconds.
        losses: what was lost of each agent's reports.
        scope: the source and destination environment that the run was narrowed to; None: all.
        reused: the run, and the age in seconds up to which what others observed counts too.
        with_cells: adds `cells` in the form of `matrix --cells`.
    """
    entry = total(cells)
    pairs = [
        (source, destination)
        for source, destination in untested(topology, cells)
        if scope[0] in {None, source} and scope[1] in {None, destination}
    ]
    return runs.Verified(
        result=outcome(cells, pairs),
        started=iso(started),
        finished=iso(finished),
        summary=results(entry),
        coverage=round(entry.ratio, 6),
        findings=tuple(finding_body(topology, finding) for finding in of_run(cells, found)),
        agents=agents_body(agents, finished, losses),
        untested=tuple(runs.Untested(source=source, destination=destination) for source, destination in pairs),
        reused=UNSET if reused is None else _reused(cells, *reused),
        cells=tuple(cell_body(cell) for cell in cells) if with_cells else UNSET,
    )


def _reused(cells: Iterable[Cell], run: str, max_age_s: float) -> runs.Reused:
    """How many cells were not probed again, and since when the oldest of them stands."""
    held = [
        (cell.count, cell.judged.observed_at)
        for cell in cells
        if cell.judged is not None and cell.judged.round and cell.judged.run != run
    ]
    oldest = min((at for _, at in held), default=None)
    return runs.Reused(max_age_s=max_age_s, cells=sum(count for count, _ in held), oldest=iso(oldest))


def of_run(cells: Sequence[Cell], found: Iterable[Finding]) -> list[Finding]:
    """The findings that explain what fails (or is waived) in these cells."""
    bad: dict[CellKey, PortSet] = {}
    for cell in cells:
        if cell.result in {Result.FAIL, Result.WAIVED}:
            bad[cell.key] = bad.get(cell.key, PortSet()) | cell.ports

    def explains(finding: Finding) -> bool:
        return not finding.merged_into and any(
            region.key in bad and region.ports & bad[region.key] for region in finding.regions
        )

    return [finding for finding in found if explains(finding)]


def known(held: Iterable[Run]) -> tuple[runs.Known, ...]:
    """`GET /api/v1/runs`: the runs in the order given, without what they show."""
    return tuple(runs.Known(run=run.id, state=run.state, started=iso(run.started)) for run in held)


def body_of(run: Run, *, with_cells: bool = False) -> runs.Run | runs.FinishedRun:
    """`GET /api/v1/runs/{id}` of a run as the coordinator knows it; its `result` is null until it is over."""
    told = runs.Run(
        run=run.id,
        state=run.state,
        waiting_for=tuple(run.waiting_for),
        progress=runs.Progress(cells=run.total, done=run.done),
        error=run.error or None,
        stopped=run.stopped or None,
        ended=run.ended,
        result=None,
    )
    held = run.held
    if held is None:
        return told
    verified = verify(
        held.topology,
        held.cells,
        held.findings,
        held.agents,
        started=run.started,
        finished=run.finished,
        losses=held.losses,
        scope=(run.source, run.destination),
        reused=None if run.max_age_s is None else (run.id, run.max_age_s),
        with_cells=with_cells,
    )
    situation = situation_of(held.topology, held.agents, in_run=True)
    return concluded(told, verified, situation, held.cells, held.findings, held.plan)


def concluded(
    run: runs.Run,
    verified: runs.Verified,
    situation: Situation,
    cells: Sequence[Cell],
    found: Sequence[Finding] = (),
    plan: Iterable[PlanTarget] = (),
) -> runs.FinishedRun:
    """A run that is over, with its result and what explains that.

    Args:
        run: without a result.
        verified: what `verify` made of it.
        situation: what is declared, and what is known of the agents.
        cells: of this run.
        found: every finding of the book.
        plan: the whole plan.
    """
    mine, topology = of_run(cells, found), situation.topology
    return runs.FinishedRun(
        **{**msgspec.structs.asdict(run), "result": verified},
        checks=checks(situation, cells, found),
        coverage=coverage_body(topology, cells),
        unproven=unproven(situation, cells),
        failing=failing(topology, cells, mine, REST),
        environments={name: found_at.mark.line for name, found_at in topology.environments.items()},
        decided=decisions(topology, plan, cells, mine),
        uncontrolled=tuple(
            runs.Uncontrolled(
                environment=one.environment,
                protocols=tuple(protocol.value for protocol in one.protocols),
                cells=one.cells,
                share=round(one.share, 6),
                settle=one.settle,
            )
            for one in by_outcome(cells)
        ),
    )


def checks(situation: Situation, cells: Sequence[Cell], found: Iterable[Finding]) -> tuple[runs.Check, ...]:
    """A check per (source, destination, path), and one per pair for all that is denied, whatever the outcome."""
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        path = cell.path.name if cell.path is not None else REST
        groups.setdefault((*cell.pair, path), []).append(cell)
    lines = {path.name: path.mark.line for path in situation.topology.paths}
    run_findings = of_run(cells, found)
    return tuple(
        runs.Check(
            source=source,
            destination=destination,
            path=path,
            declared=group[0].declared.value,
            line=lines.get(path),
            result=worst(group).value,
            results=results(total(group)),
            required_unproven=sum(cell.count for cell in group if cell.required and cell.result not in PROVEN),
            evidence=tuple(_evidence(situation, group)),
            findings=tuple(finding.id for finding in of_run(group, run_findings)),
        )
        for (source, destination, path), group in groups.items()
    )


def worst(cells: Sequence[Cell]) -> Result:
    """What a check comes to. Cells that need not be proven do not make it worse when they are not."""
    counted = {cell.result for cell in cells if cell.result in PROVEN or cell.required}
    return next((result for result in _WORST if result in counted), Result.PASS)


def _evidence(situation: Situation, cells: Sequence[Cell]) -> list[str]:
    """One line for cells of one host that came out alike, the worst first."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        judged = cell.judged.verdict if cell.judged is not None else None
        alike = (cell.key, cell.result, judged, cell.grade, cell.schedule if judged is None else "")
        groups.setdefault(alike, []).append(cell)
    ordered = sorted(groups.values(), key=lambda group: _WORST.index(group[0].result))
    return [_line(situation, group) for group in ordered]


def _line(situation: Situation, cells: Sequence[Cell]) -> str:
    first = cells[0]
    said = "not tried"
    if first.judged is not None:
        verdict = first.judged.verdict
        proof = f"{verdict.proof}, row {verdict.row}" if verdict.reachability.value != "unknown" else verdict.reason
        said = f"{verdict.reachability} ({proof})" + (f", round {first.judged.round}" if first.judged.round else "")
    advice = situation.settled(first)
    more = f"; {advice.means}; to settle it: {advice.settle}" if advice else ""
    where = f"{first.key.agent} {first.key.source_address or '-'} -> {first.key.address} {_ports(cells)}"
    return f"{first.result}: {where}: {said}{more}"


def _ports(cells: Sequence[Cell]) -> str:
    ports = text_of(PortSet.union(cell.ports for cell in cells))
    return f"{cells[0].key.protocol}/{ports}" if ports else cells[0].key.protocol.value


def unproven(situation: Situation, cells: Iterable[Cell]) -> tuple[runs.Unproven, ...]:
    """Cells that are neither green nor red, folded to one line per host and reason."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        advice = situation.settled(cell)
        if advice is None:
            continue
        reason = cell.judged.verdict.reason if cell.judged is not None else ""
        alike = (cell.pair, cell.key.address, cell.key.protocol, cell.result, reason, cell.required, cell.schedule)
        groups.setdefault((advice, *alike), []).append(cell)
    return tuple(
        runs.Unproven(
            source=group[0].source_environment,
            agents=tuple(sorted({cell.key.agent for cell in group})),
            destination=group[0].key.destination,
            address=group[0].key.address,
            service=group[0].service,
            protocol=group[0].key.protocol.value,
            ports=text_of(PortSet.union(cell.ports for cell in group)),
            cells=sum(cell.count for cell in group),
            required=group[0].required,
            result=group[0].result.value,
            reason=group[0].judged.verdict.reason if group[0].judged is not None else None,
            means=advice.means,
            settle=advice.settle,
        )
        for (advice, *_), group in groups.items()
    )
