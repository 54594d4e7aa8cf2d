"""The body of `report`: what is handed over, of one moment. Every figure in it is one of `coordinator.api.views`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from coordinator.api.explain import explain_finding, of_finding
from coordinator.api.verify import outcome, unproven, worst
from coordinator.api.views import agents_body, coverage_body, listed, matrix, results
from coordinator.json_types import Body, iso
from coordinator.packets.exchanges import Exchanges
from coordinator.state.estate import Estate
from coordinator.state.roster import AgentState
from coordinator.store import Losses
from reachability.advice import ROWS
from reachability.compare import Cell, compare, key_of
from reachability.coverage import total, untested
from reachability.finding import Event, Finding, Status
from reachability.matrix import CellKey
from reachability.plan import PlanTarget
from reachability.topology import Environment, Path, PortSpec, Probing, Topology, Waiver
from reachability.vocabulary import Result
from wire.messages import VERSION

MOST_EVENTS = 20_000  # the newest: of findings that are older than those, first and last seen are told, no story
_NOT_KEPT = Exchanges(lambda _: ())


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


def snapshot(estate: Estate) -> Snapshot:
    """What the estate holds now; one reading of the clock decides what is stale and which waiver is in force."""
    now = estate.now()
    return Snapshot(
        at=now.timestamp(),
        topology=estate.topology,
        plan=estate.plan,
        cells=compare(estate.topology, estate.plan, estate.matrix, now),
        findings=estate.book.findings,
        events=tuple(estate.store.events(MOST_EVENTS)),
        agents=tuple(estate.agents.values()),
        losses=dict(estate.losses),
    )


def report(taken: Snapshot) -> Body:
    """`report -o json`. `matrix` and `coverage` are the bodies of those verbs; a finding is `explain`'s, without packets."""
    topology, cells = taken.topology, taken.cells
    pairs = untested(topology, cells)
    times = [cell.judged.observed_at for cell in cells if cell.judged is not None]
    return {
        "made": iso(taken.at),
        "version": VERSION,
        "result": outcome(cells, pairs),
        "topology": {"file": topology.file, "digest": topology.digest},
        "observed": {"from": iso(min(times, default=0.0)), "to": iso(max(times, default=0.0))},
        "summary": results(total(cells)),
        "matrix": matrix(topology, cells),
        "coverage": coverage_body(topology, cells, taken.losses),
        "environments": [_environment(environment) for environment in topology.environments.values()],
        "probing": _probing(topology.probing),
        "agents": agents_body(taken.agents, taken.at, taken.losses),
        "proofs": proofs(cells),
        "paths": _paths(topology.paths, cells),
        "waivers": [_waiver(waiver, taken) for waiver in topology.waivers],
        "findings": _findings(taken),
        "suspected": sum(finding.status is Status.SUSPECTED for finding in taken.findings),
        "unproven": unproven(cells),
        "untested": [{"source": source, "destination": destination} for source, destination in pairs],
    }


def proofs(cells: Iterable[Cell]) -> list[Body]:
    """How what was observed was concluded: cells by the row of the table in docs/verdict.md, and by what it proves."""
    groups: dict[tuple[int, str, str], list[Cell]] = {}
    for cell in cells:
        if cell.judged is not None:
            verdict = cell.judged.verdict
            groups.setdefault((verdict.row, verdict.reachability.value, verdict.proof.value), []).append(cell)
    return [
        {
            "row": row,
            "text": ROWS[row],
            "reachability": reachability,
            "proof": proof,
            "cells": counted.cells,
            "results": results(counted),
        }
        for (row, reachability, proof), group in sorted(groups.items())
        for counted in [total(group)]
    ]


def _environment(environment: Environment) -> Body:
    return {
        "name": environment.name,
        "sensitivity": environment.sensitivity.value,
        "require": environment.require.value,
        "networks": [str(network) for network in environment.networks],
        "agents": [{"name": agent.name, "addresses": list(agent.addresses)} for agent in environment.agents.values()],
        "services": [
            {
                "name": service.name,
                "hosts": list(service.hosts),
                "ports": str(service.ports),
                "kind": service.kind or None,
                "holds": list(service.holds),
                "sweep": service.sweep,
            }
            for service in environment.services.values()
        ],
    }


def _probing(probing: Probing) -> Body:
    return {
        "every_s": probing.every_s,
        "sweep": {"every_s": probing.sweep_every_s, "ports": _ports(probing.sweep_ports)},
        "rate_pps": probing.rate_pps,
        "flows": probing.flows,
        "confirm": probing.confirm,
        "blackout": [{"cron": one.cron, "for_s": one.for_s, "timezone": one.timezone} for one in probing.blackout],
    }


def _paths(paths: Sequence[Path], cells: Iterable[Cell]) -> list[Body]:
    """Every declared path with what its cells came to; `result` is null where the plan has no cell of it."""
    groups: dict[str, list[Cell]] = {path.name: [] for path in paths}
    for cell in cells:
        if cell.path is not None:
            groups[cell.path.name].append(cell)
    return [
        {
            "name": path.name,
            **_ends(path),
            "expect": path.expect.value,
            "result": worst(group).value if group else None,
            "cells": counted.cells,
            "results": results(counted),
        }
        for path in paths
        for group in [groups[path.name]]
        for counted in [total(group)]
    ]


def _waiver(waiver: Waiver, taken: Snapshot) -> Body:
    covers = [cell for cell in taken.cells if cell.result is Result.WAIVED and cell.waiver == waiver]
    return {
        "id": waiver.id,
        **_ends(waiver),
        "expires": iso(waiver.expires.timestamp()),
        "in_force": waiver.expires.timestamp() > taken.at,
        "cells": sum(cell.count for cell in covers),
        "findings": [
            finding.id
            for finding in listed(taken.topology, taken.findings)
            if finding.live and finding.waiver == waiver.id
        ],
    }


def _ends(entry: Path | Waiver) -> Body:
    """What paths and waivers have alike. `ports` null: the service's own, or every port."""
    return {
        "from": entry.source.text,
        "to": entry.destination.text,
        "ports": None if entry.ports is None else str(entry.ports),
        "owner": entry.owner or None,
        "justification": entry.justification or None,
        "line": entry.mark.line or None,
    }


def _findings(taken: Snapshot) -> list[Body]:
    """What `explain` says of each, but for the packets: `findings export` has those."""
    by_key: dict[CellKey, list[Cell]] = {}
    for cell in taken.cells:
        by_key.setdefault(cell.key, []).append(cell)
    targets = {key_of(target): target for target in taken.plan}
    events: dict[str, list[Event]] = {}
    for event in taken.events:
        events.setdefault(event.finding, []).append(event)
    found = []
    for finding in listed(taken.topology, taken.findings):
        keys = list({region.key: None for region in finding.regions})
        shown = of_finding(
            [targets[key] for key in keys if key in targets],
            [cell for key in keys for cell in by_key.get(key, ())],
            finding,
        )
        body = explain_finding(taken.topology, finding, shown, events.get(finding.id, ()), _NOT_KEPT)
        del body["exchange"]
        found.append(
            {**body, "waiver": finding.waiver or None, "path": finding.path or None, "shown": list(finding.shown)}
        )
    return found


def _ports(spec: PortSpec) -> str | None:
    return str(spec) or None
