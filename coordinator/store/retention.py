"""What is kept how long, so that a store of years stays as large as one of days; by the clock of `coordinator.store.ageing`.

| what | kept |
|---|---|
| rounds and reports | 6 hours, and those that a current cell or a finding that is not long over stands on |
| those of rounds that are not known (`coordinator.store.strays`) | 6 hours, of an agent 1,000 and 4 MiB; what is more is a gap |
| their packets | 5 minutes, and the same |
| cells | while they are planned; 7 days after they were last judged, of an agent the newest 10,000 keys |
| findings | 90 days after they were resolved (`coordinator.state.estate`) |
| events | a year, at most the newest 100,000 |
| lookups, addresses | while the topology has the agent and the name |
| spools | 400 days after they were last heard of, at most 256 per agent |
| gaps | for good: of more than 256 per agent the oldest fold into one |
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import groupby

from coordinator.store.spools import Spools
from reachability.matrix import CellKey, Matrix

ROUNDS_S = 6 * 3600.0  # what a late report may still correct; the cells that they led to stay
PACKETS_S = 300.0
CELLS_S = 7 * 86400.0
MOST_UNPLANNED = 10_000  # keys of an agent, each with its round: it names the address that it sent from
RESOLVED_S = 90 * 86400.0
EVENTS_S, MOST_EVENTS = 366 * 86400.0, 100_000
SPOOLS_S = 400 * 86400.0
_EVENTS_A_LOOK = 1000
_OF_STANDING = "round IN (SELECT round FROM rounds WHERE main IN (SELECT value FROM json_each(?)))"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many rows went."""

    rounds: int
    reports: int
    packets: int
    events: int


def unwanted(matrix: Matrix, planned: AbstractSet[CellKey], old: AbstractSet[CellKey]) -> Iterator[CellKey]:
    """The keys that no plan knows and that are among the old, or too many of one agent."""
    seen = {
        key: max((judged.observed_at for _, judged in matrix.rows(key)), default=0.0)
        for key in matrix
        if key not in planned
    }
    by_agent = sorted(seen, key=lambda key: (key.agent, -seen[key]))
    for _, keys in groupby(by_agent, key=lambda key: key.agent):
        for number, key in enumerate(keys):
            if number >= MOST_UNPLANNED or key in old:
                yield key


def forget(db: sqlite3.Connection, spools: Spools, age: float, standing: str) -> Forgotten:
    """One look, within the caller's transaction; `age` is history's, `standing` a JSON list of main rounds."""
    packets = db.execute(
        f"DELETE FROM packets WHERE kept < ? AND NOT {_OF_STANDING}",  # noqa: S608 - a constant
        (age - PACKETS_S, standing),
    ).rowcount
    reports = db.execute(
        f"DELETE FROM reports WHERE kept < ? AND NOT {_OF_STANDING}",  # noqa: S608 - a constant
        (age - ROUNDS_S, standing),
    ).rowcount
    rounds = db.execute(
        "DELETE FROM rounds WHERE kept < ? AND main NOT IN (SELECT value FROM json_each(?))",
        (age - ROUNDS_S, standing),
    ).rowcount
    db.execute("DELETE FROM unjudged WHERE round NOT IN (SELECT round FROM rounds)")
    spools.forget_silent(age - SPOOLS_S)
    return Forgotten(rounds, reports, packets, _forget_events(db, age - EVENTS_S))


def _forget_events(db: sqlite3.Connection, before: float) -> int:
    gone = db.execute(
        "DELETE FROM events WHERE id <= (SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?)", (MOST_EVENTS,)
    ).rowcount
    old = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE kept < ? LIMIT ?)"
    return gone + db.execute(old, (before, _EVENTS_A_LOOK)).rowcount
