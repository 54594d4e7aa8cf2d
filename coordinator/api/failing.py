"""What fails in a verify run, cell by cell, and what decides each of its findings: what reports and baselines stand on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from coordinator.api.declared import declared, remedy, says_most
from coordinator.api.responses.runs import Decision, FailingCells
from coordinator.api.views import impact_between
from reachability.compare import Cell, key_of
from reachability.finding import Finding
from reachability.fold import kind_of
from reachability.matrix import CellKey
from reachability.plan import PlanTarget
from reachability.ports import PortSet, text_of
from reachability.topology import Topology
from reachability.vocabulary import Result


def failing(topology: Topology, cells: Iterable[Cell], found: Sequence[Finding], rest: str) -> tuple[FailingCells, ...]:
    """The cells that fail, each with its check and its finding; a range of two findings is two entries.

    Args:
        topology: what is declared.
        cells: of the run.
        found: the findings of the run.
        rest: the name of the check of what no path names.
    """
    regions: dict[CellKey, list[tuple[Finding, PortSet]]] = {}
    for finding in found:
        for region in finding.regions:
            regions.setdefault(region.key, []).append((finding, region.ports))
    bodies: list[FailingCells] = []
    for cell in cells:
        if cell.result is not Result.FAIL:
            continue
        left = cell.ports
        for finding, ports in regions.get(cell.key, ()):
            if finding.kind is not kind_of(cell.declared):
                continue
            if left & ports:
                bodies.append(_body(topology, cell, left & ports, finding.id, rest))
                left -= ports
        if left:
            bodies.append(_body(topology, cell, left, None, rest))
    return tuple(bodies)


def _body(topology: Topology, cell: Cell, ports: PortSet, finding: str | None, rest: str) -> FailingCells:
    kind = kind_of(cell.declared)
    return FailingCells(
        finding=finding,
        kind=kind.value,
        source=cell.source_environment,
        agent=cell.key.agent,
        destination=cell.key.destination,
        address=cell.key.address,
        service=cell.service,
        protocol=cell.key.protocol.value,
        ports=text_of(ports),
        path=cell.path.name if cell.path is not None else rest,
        severity=impact_between(topology, kind, cell.pair).severity.value,
    )


def decisions(
    topology: Topology, plan: Iterable[PlanTarget], cells: Sequence[Cell], found: Iterable[Finding]
) -> dict[str, Decision]:
    """By finding: the file, which lines of it decide, what they say, and what to do (`next`)."""
    targets = {key_of(target): target for target in plan}
    by_key: dict[CellKey, list[Cell]] = {}
    for cell in cells:
        if cell.result in {Result.FAIL, Result.WAIVED}:
            by_key.setdefault(cell.key, []).append(cell)
    bodies: dict[str, Decision] = {}
    for finding in found:
        mine = [
            (cell, cell.ports & region.ports)
            for region in finding.regions
            for cell in by_key.get(region.key, ())
            if finding.kind is kind_of(cell.declared)
            if cell.ports & region.ports
        ]
        if not mine:
            continue
        cell, ports = min(mine, key=lambda one: says_most(one[0]))
        shown = text_of(ports)
        decides = msgspec.structs.asdict(declared(topology, cell, targets.get(cell.key), shown))
        bodies[finding.id] = Decision(**decides, file=topology.file, next=remedy(topology, cell, shown))
    return bodies
