"""What the matrix showed, held against what the firewall let through at that time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.lab.truth import Rule

# How much longer than the truth a green may stand whose evidence is older: design.md §6, three periods, then it is stale.
STALE_PERIODS = 3


@dataclass(slots=True)
class Hole:
    """A time in which the firewall let a rule's packets through; epoch seconds around both edits."""

    rule: Rule
    opening: float  # just before the edit
    opened: float  # just after
    closing: float = float("inf")
    closed: float = float("inf")
    seen_at: float = 0.0  # when the matrix first showed it


@dataclass(slots=True)
class Verdicts:
    """What was seen to be wrong, and how often anything was looked at."""

    holes: list[Hole] = field(default_factory=list)
    false_greens: list[str] = field(default_factory=list)
    false_reds: list[str] = field(default_factory=list)
    polls: int = 0
    looks: int = 0  # at a cell while its truth was open
    to_explain: list[Mapping[str, Any]] = field(default_factory=list)  # green and false, just now
    longest_s: float = 0.0  # a green that stood on older evidence after the truth had opened

    def look(self, cells: Sequence[Mapping[str, Any]], asked: float, answered: float, ahead_s: float = 0.0) -> None:
        """Judge what `matrix --cells` showed; asked and answered in epoch seconds, the coordinator's clock so far ahead.

        A green is false when its evidence is from after the hole was opened. What is older stands until it is stale: the
        time is measured. All that a round saw, it saw between its `observed_at` and the answer.
        """
        self.polls += 1
        for cell in cells:
            if cell["observed_at"] is None or cell["declared"] != "denied":
                continue
            at = _epoch(cell["observed_at"]) - ahead_s
            touched = [hole for hole in self.holes if meets(hole.rule, cell)]
            if cell["result"] == "pass":
                for hole in touched:
                    self._green(hole, cell, at, asked, answered)
            elif cell["result"] == "fail":
                self._red(touched, cell, at, answered)

    def _green(self, hole: Hole, cell: Mapping[str, Any], at: float, asked: float, answered: float) -> None:
        if not hole.opened < asked <= answered < hole.closing:
            return
        self.looks += 1
        self.longest_s = max(self.longest_s, asked - hole.opened)
        if at > hole.opened:
            self.false_greens.append(
                f"{said(cell)} at {asked:.1f}, on evidence of {at:.1f}; {hole.rule} was opened at {hole.opened:.1f}"
            )
            self.to_explain.append(cell)

    def _red(self, touched: Sequence[Hole], cell: Mapping[str, Any], at: float, answered: float) -> None:
        standing = [hole for hole in touched if hole.opening <= answered and hole.closed >= at]
        for hole in standing:
            self.looks += 1
            hole.seen_at = hole.seen_at or answered
        if not standing:
            before = [(round(hole.opened, 1), round(hole.closed, 1)) for hole in touched]
            self.false_reds.append(f"{said(cell)} at {answered:.1f}, on evidence of {at:.1f}; open were {before}")


def meets(rule: Rule, cell: Mapping[str, Any]) -> bool:
    """Whether a rule lets some of an entry's packets through."""
    if cell["ports"] is None:
        return rule.matches(cell["source_address"], cell["address"], cell["protocol"], 0)
    return any(
        rule.matches(cell["source_address"], cell["address"], cell["protocol"], port)
        for low, high in _spans(cell["ports"])
        for port in {max(low, rule.low)}
        if port <= min(high, rule.high)
    )


def said(cell: Mapping[str, Any]) -> str:
    """A cell in one line."""
    return (
        f"{cell['agent']} {cell['source_address']} → {cell['address']} {cell['protocol']}/{cell['ports']}: {cell['result']}, "
        f"{cell['reachability']} ({cell['proof']}, row {cell['row']}, {cell['reason']})"
    )


def _spans(ports: str) -> Iterator[tuple[int, int]]:
    for part in ports.split(","):
        low, _, high = part.partition("-")
        yield int(low), int(high or low)


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
