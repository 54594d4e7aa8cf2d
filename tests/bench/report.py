"""How a part of the benchmarks prints what it saw."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(slots=True)
class Row:
    """A line of a table: seconds of each run, and what came out wrong."""

    name: str
    seconds: list[float]
    wrong: list[int]
    note: str = ""

    @property
    def median(self) -> float:
        """Of the seconds."""
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        """As Markdown."""
        wrong = f"{min(self.wrong)}-{max(self.wrong)}" if len(set(self.wrong)) > 1 else str(self.wrong[0])
        digits = 2 if self.median >= 1 else 3
        return f"| {self.name} | {self.median:.{digits}f} | {wrong} | {self.note} |"


def table(title: str, rows: list[Row]) -> None:
    """Print a title and a table."""
    print(f"\n### {title}\n\n| | seconds, median | wrong | |\n|---|---|---|---|")
    for row in rows:
        print(row)


def ratio(mine: Row, others: list[Row]) -> None:
    """Against the fastest of the others that got nothing wrong."""
    good = [row for row in others if not any(row.wrong)]
    if good:
        best = min(good, key=lambda row: row.median)
        print(f"\n{best.name} / segwatch = {best.median / mine.median:.2f}")
