"""What is declared of a cell, which line of the topology decides it, and what to do about one that is not as declared."""

from __future__ import annotations

from coordinator.api.responses.proof import Declaration, NearestPath, WaiverLine
from coordinator.json_types import iso
from reachability.compare import Cell
from reachability.plan import PlanTarget
from reachability.policy import matches, nearest_paths, ports_named
from reachability.topology import Topology, Waiver
from reachability.vocabulary import Declared, Result

_WORST = (Result.FAIL, Result.WAIVED, Result.INCONCLUSIVE, Result.STALE, Result.NOT_RUN, Result.PASS)


def says_most(cell: Cell) -> tuple[int, int, float]:
    """The key by which the least is the cell that shows a finding best: the worst, by the first row, the newest."""
    if cell.judged is None:
        return _WORST.index(cell.result), 99, 0.0
    return _WORST.index(cell.result), cell.judged.verdict.row, -cell.judged.observed_at


def remedy(topology: Topology, cell: Cell, ports: str | None) -> tuple[str, ...]:
    """What to do about a cell that is not as declared."""
    if cell.result is not Result.FAIL:
        return ()
    what = f"{cell.key.address} {cell.key.protocol}/{ports}" if ports else f"{cell.key.address} icmp"
    if cell.declared is Declared.REQUIRED:
        return (f"let {cell.key.source_address or cell.key.agent} reach {what}", "see that the service listens there")
    return (
        f"take out what lets {cell.key.source_address or cell.source_environment} reach {what} in the firewall",
        f"or declare the path in {topology.file}, or waive it there for a while",
    )


def declared(topology: Topology, cell: Cell, target: PlanTarget | None, ports: str | None) -> Declaration:
    """Which line decides; of what no line allows, the lines that do not match, and the nearest of them.

    `lines` are the first and the last of them in the file. Without a single path it is where the destination begins.
    """
    if (path := cell.path) is not None:
        word = "required" if cell.declared is Declared.REQUIRED else "allowed"
        return Declaration(
            declared=cell.declared.value,
            path=path.name,
            nearest=None,
            waiver=_line(cell.waiver),
            ended=None,
            text=f"{word} by path '{path.name}'" + (f" ({path.owner})" if path.owner else ""),
            at=f"{topology.file}:{path.mark.line}",
            lines=(path.mark.line, path.mark.end_line),
        )
    what = f"{cell.key.protocol}/{ports}" if ports else "icmp"
    where = f"{cell.key.destination}.{cell.service}" if cell.service else f"{cell.key.destination} {cell.key.address}"
    text = f"denied: no path in {topology.file} matches from {cell.source_environment} to {where} {what}"
    marks = [mark for path in topology.paths for mark in (path.mark.line, path.mark.end_line) if mark]
    begins = topology.environments[cell.key.destination].mark.line
    lines = (min(marks), max(marks)) if marks else (begins, begins)
    if (ended := _ended(topology, cell, target)) is not None:
        text += f"; waiver '{ended.id}' ended on {ended.expires:%Y-%m-%d}"
    if waiver := cell.waiver or ended:
        lines = (waiver.mark.line, waiver.mark.end_line)
    return Declaration(
        declared=cell.declared.value,
        path=None,
        nearest=_nearest(topology, cell, target),
        waiver=_line(cell.waiver),
        ended=_line(ended),
        text=text,
        at=f"{topology.file}:{min(marks)}-{max(marks)}" if marks else topology.file,
        lines=lines,
    )


def _line(waiver: Waiver | None) -> WaiverLine | None:
    if waiver is None:
        return None
    return WaiverLine(id=waiver.id, line=waiver.mark.line, expires=iso(waiver.expires.timestamp()))


def _nearest(topology: Topology, cell: Cell, target: PlanTarget | None) -> NearestPath | None:
    near = nearest_paths(topology, target) if target is not None else ()
    if not near:
        return None
    best = max(near, key=lambda path: path.destination.service == (cell.service or ""))
    return NearestPath(path=best.name, line=best.mark.line, source=best.source.text, destination=best.destination.text)


def _ended(topology: Topology, cell: Cell, target: PlanTarget | None) -> Waiver | None:
    """The waiver that a failing cell would have if it had not ended: one in force would have been given to it."""
    if target is None or cell.result is not Result.FAIL:
        return None
    return next(
        (
            waiver
            for waiver in topology.waivers
            if matches(topology, waiver.source, waiver.destination, target)
            and cell.ports & ports_named(topology, waiver, target.protocol)
        ),
        None,
    )
