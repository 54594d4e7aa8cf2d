"""What rounds do to matrix and findings, worked out on copies: in a thread, while the event loop goes on by what stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from coordinator.state.concluding import JudgedRow
from reachability.compare import compare
from reachability.finding import Event, FindingBook
from reachability.matrix import CellKey, Matrix, Row
from reachability.plan import PlanTarget
from reachability.topology import Topology

MOST_TRIES = 3  # beside the event loop: then on it, where nothing changes meanwhile


class Moment(NamedTuple):
    """What stands as a review begins. `changes` grows with all that touches the original of a copy in here."""

    topology: Topology
    plan: tuple[PlanTarget, ...]
    matrix: Matrix
    book: FindingBook
    now: datetime
    changes: int


class Reviewed(NamedTuple):
    """Matrix and book as they are then, the keys that were laid over, and what happened to the findings."""

    matrix: Matrix
    book: FindingBook
    keys: tuple[CellKey, ...]
    events: tuple[Event, ...]


def reviewed(moment: Moment, rows: Iterable[JudgedRow], at: float) -> Reviewed:
    """What judged rows that were observed `at`, epoch seconds, do to a moment; its copies become the outcome."""
    matrix, book = moment.matrix, moment.book
    keys = lay(matrix, (JudgedRow(key, ports, replace(judged, observed_at=at)) for key, ports, judged in rows))
    cells = compare(moment.topology, moment.plan, matrix, moment.now)
    return Reviewed(matrix, book, keys, book.apply(cells, moment.now, moment.topology.probing.confirm))


def lay(matrix: Matrix, rows: Iterable[JudgedRow]) -> tuple[CellKey, ...]:
    """Lay judgements over a matrix; their keys."""
    groups: dict[tuple[CellKey, str, float], list[Row]] = {}
    for key, ports, judged in rows:
        groups.setdefault((key, judged.round, judged.observed_at), []).append((ports, judged))
    for (key, *_), found in groups.items():
        matrix.lay(key, found)
    return tuple(dict.fromkeys(key for key, *_ in groups))
