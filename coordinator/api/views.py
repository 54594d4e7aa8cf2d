"""Every JSON body of the API, as pure functions of what the coordinator holds. Keys are stable once shipped.

Times are ISO 8601 in UTC. `explain` is in `coordinator.api.explain`, what only a verify run has in `coordinator.api.verify`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coordinator.json_types import Body, iso
from coordinator.state.roster import AgentState
from coordinator.store import Gap, Losses
from reachability.compare import Cell
from reachability.coverage import Coverage, coverage, total
from reachability.finding import Event, Finding, Kind, Status
from reachability.impact import Impact, of_missing, of_unexpected
from reachability.ports import text_of
from reachability.topology import Topology
from reachability.vocabulary import Result, Sensitivity
from wire.certificates import ends_soon

_RISING = tuple(Sensitivity)


def matrix(topology: Topology, cells: Sequence[Cell], *, with_cells: bool = False) -> Body:
    """`matrix -o json`: one entry per pair of environments; with `--cells` one per range of cells that are alike."""
    by_pair = {(entry.source, entry.destination): entry for entry in coverage(cells)}
    names = list(topology.environments)
    pairs = [
        {
            "source": source,
            "destination": destination,
            "results": results(entry),
            "coverage": round(entry.ratio, 6),
        }
        for source in names
        for destination in names
        if source != destination
        for entry in [by_pair.get((source, destination), Coverage(source=source, destination=destination))]
    ]
    body: Body = {"environments": names, "pairs": pairs}
    if with_cells:
        body["cells"] = [cell_body(cell) for cell in cells]
    return body


def results(entry: Coverage) -> Body:
    """Cells by result; the keys are those of `verify`'s summary."""
    return {result.value.replace("-", "_"): entry.results.get(result, 0) for result in Result}


def cell_body(cell: Cell) -> Body:
    """Cells that are alike. What was not observed is null; `ports` is null for ICMP alone."""
    judged = cell.judged
    return {
        "agent": cell.key.agent,
        "source": cell.source_environment,
        "source_address": cell.key.source_address,
        "address": cell.key.address,
        "destination": cell.key.destination,
        "service": cell.service,
        "protocol": cell.key.protocol.value,
        "ports": text_of(cell.ports),
        "declared": cell.declared.value,
        "state": judged.evidence.state.value if judged else None,
        "reason": (judged.verdict.reason or judged.evidence.reason.value) if judged else None,
        "reachability": judged.verdict.reachability.value if judged else None,
        "proof": judged.verdict.proof.value if judged else None,
        "result": cell.result.value,
        "required": cell.required,
        "waiver": cell.waiver.id if cell.waiver is not None else None,
        "observed_at": iso(judged.observed_at) if judged else None,
        "row": judged.verdict.row if judged else None,
    }


def impact_of(topology: Topology, finding: Finding) -> Impact:
    """Severity, weaknesses and harm as the current topology gives them; of an environment that is gone, the least."""
    source = topology.environments.get(finding.source)
    destination = topology.environments.get(finding.destination)
    if source is None or destination is None:
        return Impact(Sensitivity.LOW, (), ())
    if finding.kind is Kind.MISSING_PATH:
        return of_missing(destination)
    return of_unexpected(
        source, destination, [destination.services[s] for s in finding.services if s in destination.services]
    )


def finding_body(topology: Topology, finding: Finding) -> Body:
    """One object of `findings -o json`. Several agents or services are joined by a comma."""
    impact = impact_of(topology, finding)
    return {
        "id": finding.id,
        "kind": finding.kind.value,
        # In a verify run, which judges alone, a suspicion is open: the run saw it.
        "status": (Status.OPEN if finding.status is Status.SUSPECTED else finding.status).value,
        "severity": impact.severity.value,
        "result": _result(finding).value,
        "source": {"environment": finding.source, "agent": ",".join(finding.agents)},
        "destination": {
            "environment": finding.destination,
            "service": ",".join(finding.services) or None,
            "addresses": list(finding.addresses),
        },
        "protocol": finding.protocol.value,
        "ports": text_of(finding.ports),
        "declared": finding.declared.value,
        "reachability": finding.reachability.value,
        "proof": finding.proof.value,
        "reason": finding.reason,
        "identified": finding.identified or None,
        "cwe": list(impact.cwe),
        "impact": list(impact.words),
        "first_seen": iso(finding.first_seen),
        "last_seen": iso(finding.last_seen),
        "cells": finding.cells,
    }


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


def findings(topology: Topology, found: Iterable[Finding]) -> list[Body]:
    """`findings -o json`, in the order of `listed`."""
    return [finding_body(topology, finding) for finding in listed(topology, found)]


def coverage_body(topology: Topology, cells: Sequence[Cell], losses: Mapping[str, Losses] | None = None) -> Body:
    """`coverage -o json`: of all cells, and by pair. Nothing untested is rounded away, and no lost report forgotten."""
    environments = topology.agents()
    return {
        **_coverage(total(cells)),
        "pairs": [
            {"source": entry.source, "destination": entry.destination, **_coverage(entry)} for entry in coverage(cells)
        ],
        "not_swept": [
            {"environment": environment.name, "service": service.name, "hosts": list(service.hosts)}
            for environment in topology.environments.values()
            for service in environment.services.values()
            if not service.sweep
        ],
        "lost": [
            {"agent": agent, "environment": environments.get(agent), **losses_body(lost)}
            for agent, lost in sorted((losses or {}).items())
        ],
    }


def _coverage(entry: Coverage) -> Body:
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


def agents_body(agents: Iterable[AgentState], now: float, losses: Mapping[str, Losses] | None = None) -> list[Body]:
    """The roster, as `status` and `verify` show it. `age_s` is how long ago its last round was concluded.

    `lost` has all that was ever lost of what the agent reported, and `untold` batches that it has just lost.
    """
    known = losses or {}
    return [
        {
            "name": agent.name,
            "environment": agent.environment,
            "state": agent.state,
            "addresses": list(agent.addresses),
            "version": agent.version or None,
            "raw": agent.raw,
            "lacks": agent.lacks or None,
            "rate_pps": agent.rate_pps,
            "spooled": agent.spooled,
            "lost": {**losses_body(known.get(agent.name, Losses())), "untold": agent.untold},
            "refused": list(agent.refused),
            "refusals": agent.refusals,
            "problem": agent.problem or None,
            "last_seen": iso(agent.last_seen),
            "clock_skew_s": None if agent.clock_skew_s is None else round(agent.clock_skew_s, 1) + 0.0,  # no -0.0
            "age_s": round(max(0.0, now - agent.last_round), 1) if agent.last_round else None,
            "certificate": _certificate(*agent.certificate, now),
        }
        for agent in agents
    ]


def losses_body(lost: Losses) -> Body:
    """Reports that were lost on their way: how many, made from when to when, and why."""
    return {
        "batches": lost.batches,
        "reports": lost.reports,
        "from": iso(lost.since),
        "to": iso(lost.until),
        "why": lost.why.split(",") if lost.why else [],
    }


def gaps_body(topology: Topology, gaps: Iterable[Gap]) -> list[Body]:
    """`/api/v1/gaps`: every gap by itself, the newest first. Where several spools' were folded, there is no sequence."""
    environments = topology.agents()
    return [
        {
            "agent": gap.agent,
            "environment": environments.get(gap.agent),
            "spool": gap.spool or None,
            "first": gap.first or None,
            "last": gap.last or None,
            **losses_body(Losses(gap.batches, gap.reports, gap.since, gap.until, gap.why)),
            "noticed": iso(gap.noticed),
        }
        for gap in gaps
    ]


def _certificate(starts: float, ends: float, now: float) -> Body | None:
    """`soon` is when its end is to be shown: 14 days ahead."""
    if not ends:
        return None
    return {"expires": iso(ends), "days": round((ends - now) / 86400, 1), "soon": ends_soon(starts, ends, now)}


def history(events: Iterable[Event], topology: Topology, book: Mapping[str, Finding]) -> list[Body]:
    """`history -o json`: what happened to findings and to agents' certificates, the newest first.

    They are in the order in which they came: the clock may have been set between.
    """
    return [
        {
            "at": iso(event.at),
            "finding": event.finding or None,
            "agent": event.agent or None,
            "what": event.what,
            "text": event.text,
            "by": event.by or None,
            "severity": impact_of(topology, book[event.finding]).severity.value if event.finding in book else None,
        }
        for event in reversed(tuple(events))
    ]


def status(
    topology: Topology, agents: Iterable[AgentState], cells: Sequence[Cell], found: Iterable[Finding], **more: Any
) -> Body:
    """What the dashboard's first line needs. `more`: now (epoch seconds), losses, what only the daemon knows as it is."""
    now, losses = float(more.pop("now", 0.0)), more.pop("losses", None)
    entry = total(cells)
    live = [finding for finding in found if finding.live]
    return {
        "now": iso(now),
        "topology": {
            "file": topology.file,
            "digest": topology.digest,
            "environments": list(topology.environments),
        },
        "agents": agents_body(agents, now, losses),
        "results": results(entry),
        "coverage": round(entry.ratio, 6),
        "findings": len(live),
        "last_cycle": iso(max((cell.judged.observed_at for cell in cells if cell.judged), default=0.0)),
        **more,
    }
