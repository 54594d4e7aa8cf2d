"""What `report` answers: what is handed over, of one moment. Every figure in it is one of `coordinator.api.views`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

import msgspec

from coordinator.api.agents import agents_body
from coordinator.api.explain import explained, limits_body, of_finding
from coordinator.api.responses import report as told
from coordinator.api.responses.runs import Untested
from coordinator.api.responses.status import TopologyFile
from coordinator.api.verify import outcome, unproven, worst
from coordinator.api.views import coverage_body, history, listed, matrix, results
from coordinator.json_types import iso
from coordinator.state.estate import Estate
from coordinator.state.roster import AgentState
from coordinator.state.situation import situation_of
from coordinator.store import Losses
from coordinator.store.retention import EVENTS_S
from reachability.advice import ROWS
from reachability.compare import Cell, compare, key_of
from reachability.coverage import total, untested
from reachability.finding import Event, Finding
from reachability.limits import Limits, limits, weakest
from reachability.matrix import CellKey
from reachability.plan import PlanTarget
from reachability.topology import Environment, Path, Probing, Topology, Waiver
from reachability.vocabulary import Result
from wire.messages import VERSION

MOST_EVENTS = 20_000  # the newest: of findings that are older than those, first and last seen are told, no story


class Span(NamedTuple):
    """A period, in epoch seconds."""

    since: float
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the coordinator held at one moment. Nothing in it changes any more, so a thread may read it."""

    at: float  # epoch seconds
    topology: Topology
    plan: tuple[PlanTarget, ...]
    cells: tuple[Cell, ...]
    findings: tuple[Finding, ...]
    events: tuple[Event, ...]
    agents: tuple[AgentState, ...]
    losses: Mapping[str, Losses] = field(default_factory=dict)
    span: Span | None = None


def snapshot(estate: Estate, since: float | None = None, until: float | None = None) -> Snapshot:
    """What the estate holds now; one reading of the clock decides what is stale and which waiver is in force.

    With `since`, what happened from then to `until` (now) as well; ValueError, in words, for a period that there is not.
    """
    now = estate.now()
    if since is None and until is not None:
        raise ValueError("`until` ends a period, and `since` begins it: give both")
    span = None if since is None else _span(since, until, now.timestamp())
    return Snapshot(
        at=now.timestamp(),
        topology=estate.topology,
        plan=estate.plan,
        cells=compare(estate.topology, estate.plan, estate.matrix, now),
        findings=estate.book.findings,
        events=tuple(estate.store.events(MOST_EVENTS)),
        agents=tuple(estate.agents.values()),
        losses=dict(estate.losses),
        span=span,
    )


def _span(since: float, until: float | None, now: float) -> Span:
    end = now if until is None else min(until, now)
    if since >= end:
        raise ValueError(f"the period begins at {iso(since)} and ends at {iso(end)}: it must begin before it ends")
    return Span(since, end)


def report(taken: Snapshot) -> told.Report:
    """`report -o json`. `matrix` and `coverage` are the bodies of those verbs; a finding is `explain`'s, without packets."""
    topology, cells = taken.topology, taken.cells
    pairs = untested(topology, cells)
    times = [cell.judged.observed_at for cell in cells if cell.judged is not None and cell.judged.round]
    return told.Report(
        made=iso(taken.at),
        version=VERSION,
        result=outcome(cells, pairs),
        topology=TopologyFile(file=topology.file, digest=topology.digest),
        observed=told.Observed(oldest=iso(min(times, default=0.0)), newest=iso(max(times, default=0.0))),
        summary=results(total(cells)),
        matrix=matrix(topology, cells),
        coverage=coverage_body(topology, cells, taken.losses),
        environments=tuple(_environment(environment) for environment in topology.environments.values()),
        probing=_probing(topology.probing),
        agents=agents_body(taken.agents, taken.at, taken.losses),
        proofs=proofs(cells),
        paths=_paths(topology.paths, cells),
        waivers=tuple(_waiver(waiver, taken) for waiver in topology.waivers),
        findings=_findings(taken),
        suspected=sum(finding.suspected for finding in taken.findings),
        unproven=unproven(situation_of(topology, taken.agents), cells),
        untested=tuple(Untested(source=source, destination=destination) for source, destination in pairs),
        period=None if taken.span is None else _period(taken, taken.span),
        limits=limits_body(weakest(_limits(cells))),
    )


def _limits(cells: Iterable[Cell]) -> Iterator[Limits]:
    judged = (cell.judged for cell in cells if cell.result is Result.PASS and cell.judged is not None)
    return filter(None, (limits(one.verdict, one.evidence) for one in judged))


def _period(taken: Snapshot, span: Span) -> told.Period:
    """What the history has of it. The store keeps the cells of now alone: no figure of the past can be had."""
    book = {finding.id: finding for finding in taken.findings}
    kept = taken.at - EVENTS_S
    known = max(kept, taken.events[0].at) if len(taken.events) >= MOST_EVENTS else kept
    events = [event for event in taken.events if span.since <= event.at <= span.until]
    return told.Period(
        since=iso(span.since),
        until=iso(span.until),
        known_since=iso(known) if known > span.since else None,
        events=history(events, taken.topology, book),
    )


def _stood(finding: Finding, span: Span | None) -> bool:
    """Whether it stands, or stood at some time in the period; without one, all that is kept is shown."""
    return finding.live or span is None or (finding.first_seen <= span.until and finding.resolved_at >= span.since)


def proofs(cells: Iterable[Cell]) -> tuple[told.RowProof, ...]:
    """How what was observed was concluded: cells by the row of the table in docs/verdict.md, and by what it proves."""
    groups: dict[tuple[int, str, str], list[Cell]] = {}
    for cell in cells:
        if cell.judged is not None:
            verdict = cell.judged.verdict
            groups.setdefault((verdict.row, verdict.reachability.value, verdict.proof.value), []).append(cell)
    return tuple(
        told.RowProof(
            row=row,
            text=ROWS[row],
            reachability=reachability,
            proof=proof,
            cells=counted.cells,
            results=results(counted),
        )
        for (row, reachability, proof), group in sorted(groups.items())
        for counted in [total(group)]
    )


def _environment(environment: Environment) -> told.DeclaredEnvironment:
    return told.DeclaredEnvironment(
        name=environment.name,
        sensitivity=environment.sensitivity.value,
        require=environment.require.value,
        networks=tuple(str(network) for network in environment.networks),
        agents=tuple(
            told.DeclaredAgent(name=agent.name, addresses=tuple(agent.addresses))
            for agent in environment.agents.values()
        ),
        services=tuple(
            told.DeclaredService(
                name=service.name,
                hosts=tuple(service.hosts),
                ports=str(service.ports),
                kind=service.kind or None,
                holds=tuple(service.holds),
                sweep=service.sweep,
            )
            for service in environment.services.values()
        ),
    )


def _probing(probing: Probing) -> told.ProbingPlan:
    return told.ProbingPlan(
        every_s=probing.every_s,
        sweep=told.Sweep(every_s=probing.sweep_every_s, ports=str(probing.sweep_ports) or None),
        rate_pps=probing.rate_pps,
        flows=probing.flows,
        spread_s=probing.spread_s,
        confirm=probing.confirm,
        blackout=tuple(
            told.BlackoutTime(cron=one.cron, for_s=one.for_s, timezone=one.timezone) for one in probing.blackout
        ),
    )


def _paths(paths: Sequence[Path], cells: Iterable[Cell]) -> tuple[told.DeclaredPath, ...]:
    """Every declared path with what its cells came to; `result` is null where the plan has no cell of it."""
    groups: dict[str, list[Cell]] = {path.name: [] for path in paths}
    for cell in cells:
        if cell.path is not None:
            groups[cell.path.name].append(cell)
    return tuple(
        told.DeclaredPath(
            name=path.name,
            **_ends(path),
            expect=path.expect.value,
            result=worst(group).value if group else None,
            cells=counted.cells,
            results=results(counted),
        )
        for path in paths
        for group in [groups[path.name]]
        for counted in [total(group)]
    )


def _waiver(waiver: Waiver, taken: Snapshot) -> told.DeclaredWaiver:
    covers = [cell for cell in taken.cells if cell.result is Result.WAIVED and cell.waiver == waiver]
    return told.DeclaredWaiver(
        id=waiver.id,
        **_ends(waiver),
        expires=iso(waiver.expires.timestamp()),
        in_force=waiver.expires.timestamp() > taken.at,
        cells=sum(cell.count for cell in covers),
        findings=tuple(
            finding.id
            for finding in listed(taken.topology, taken.findings)
            if finding.live and finding.waiver == waiver.id
        ),
    )


class _Ends(TypedDict):
    source: str
    destination: str
    ports: str | None
    owner: str | None
    justification: str | None
    line: int | None


def _ends(entry: Path | Waiver) -> _Ends:
    """What paths and waivers have alike. `ports` null: the service's own, or every port."""
    return {
        "source": entry.source.text,
        "destination": entry.destination.text,
        "ports": None if entry.ports is None else str(entry.ports),
        "owner": entry.owner or None,
        "justification": entry.justification or None,
        "line": entry.mark.line or None,
    }


def _findings(taken: Snapshot) -> tuple[told.ReportedFinding, ...]:
    """What `explain` says of each, but for the packets: `findings export` has those."""
    by_key: dict[CellKey, list[Cell]] = {}
    for cell in taken.cells:
        by_key.setdefault(cell.key, []).append(cell)
    targets = {key_of(target): target for target in taken.plan}
    events: dict[str, list[Event]] = {}
    for event in taken.events:
        events.setdefault(event.finding, []).append(event)
    found = []
    for finding in listed(taken.topology, (one for one in taken.findings if _stood(one, taken.span))):
        keys = list({region.key: None for region in finding.regions})
        shown = of_finding(
            [targets[key] for key in keys if key in targets],
            [cell for key in keys for cell in by_key.get(key, ())],
            finding,
        )
        body = explained(situation_of(taken.topology, taken.agents), finding, shown, events.get(finding.id, ()))
        found.append(
            told.ReportedFinding(
                **msgspec.structs.asdict(body),
                waiver=finding.waiver or None,
                path=finding.path or None,
                shown=tuple(finding.shown),
            )
        )
    return tuple(found)
