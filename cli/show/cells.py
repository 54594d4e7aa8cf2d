"""Cells that came out alike, a line each."""

from __future__ import annotations

from collections.abc import Sequence

from cli.show.render import NO_PACKET, NO_SESSION, Paint, clip, glyph_of, short_ports, table
from coordinator.api.responses.estate import Cell


def cell_table(cells: Sequence[Cell], style: Paint) -> list[str]:
    """A line per range of cells: what it is, what came out, and why."""
    rows = [[style(text, "dim") for text in ("  from", "to", "ports", "declared", "reachability", "why")]]
    rows += [cell_row(cell, style) for cell in cells]
    return table(rows, gap=1)


def cell_row(cell: Cell, style: Paint) -> list[str]:
    """The columns of a cell's line."""
    glyph, tone = glyph_of(cell.result)
    if cell.result == "pass" and cell.declared == "denied":
        glyph = NO_PACKET if cell.reachability == "blocked" else NO_SESSION
    to = f"{cell.destination} {cell.address}" + (f" {cell.service}" if cell.service else "")
    return [
        f"{style(glyph, tone)} {clip(cell.agent, 12)}",
        clip(to, 32),
        short_ports(cell.ports, cell.protocol, 16),
        cell.declared,
        clip(cell.reachability or cell.result, 15),
        style(_why(cell), tone if cell.result != "pass" else ""),
    ]


def _why(cell: Cell) -> str:
    if cell.reachability is None:
        return cell.result
    if cell.result in {"stale", "waived"}:
        return f"{cell.result}, {cell.reason}"
    return str(cell.reason) if cell.proof == "none" else f"{cell.proof}, row {cell.row}"
