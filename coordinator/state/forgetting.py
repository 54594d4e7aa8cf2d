"""What memory lets go of because it is old in the store: what the store does not hold yet is not old."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from coordinator.store import Store
from coordinator.store.retention import CELLS_S, RESOLVED_S, unwanted
from reachability.compare import key_of
from reachability.finding import REOPEN_S, FindingBook
from reachability.matrix import CellKey, Matrix
from reachability.plan import PlanTarget


def cells(store: Store, matrix: Matrix, plan: Iterable[PlanTarget], unsaved: Collection[CellKey]) -> Iterator[CellKey]:
    """The keys that go, dropped from the matrix."""
    old = store.old_cells(CELLS_S).difference(unsaved)
    for key in list(unwanted(matrix, {key_of(target) for target in plan}, old)):
        matrix.drop(key)
        yield key


def findings(store: Store, book: FindingBook) -> None:
    """Those that were resolved long ago; the store has the book as it is."""
    book.forget(store.old_findings(RESOLVED_S))


def standing(store: Store, book: FindingBook, *, saved: bool) -> set[str]:
    """The main rounds that findings stand on; `saved` says whether the store has the book as it is."""
    return book.standing(store.old_findings(REOPEN_S) if saved else ())
