"""A line of `segwatch agent --check`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that an agent needs: `lacks` says what is missing and what to do, empty when nothing is."""

    what: str
    holds: str
    lacks: tuple[str, ...] = ()
