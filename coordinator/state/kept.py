"""Matrix, findings and history in memory, and what of them the store does not have yet."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import structlog

from coordinator.state import forgetting
from coordinator.store import Store, StoreError
from reachability.finding import Event, FindingBook
from reachability.matrix import CellKey, Matrix

log = structlog.get_logger("estate")


class Kept:
    """Memory in front of the store: it goes on where a disk takes nothing. `problem` is why it does not, "" when it does."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.matrix = Matrix()
        self.book = FindingBook(store.findings())
        self.problem = ""
        self._unsaved: dict[CellKey, None] = {}
        self._untold: list[Event] = []
        self._book_saved = self.book.findings

    def _write(self) -> bool:
        """What memory has and the store does not; False when there is nothing."""
        if not self._is_behind():
            return False
        with self._taken_out() as write:
            write()
        return True

    async def _written(self) -> None:
        """The same in a thread, as `saved`."""
        if self._is_behind():
            with self._taken_out() as write:
                await self.saved(write)

    def _is_behind(self) -> bool:
        return bool(self._unsaved or self._untold) or self.book.findings != self._book_saved

    @contextlib.contextmanager
    def _taken_out(self) -> Iterator[Callable[[], None]]:
        """What memory has and the store does not, of this moment; what was not written by the end is to be written still."""
        unsaved, untold, findings, written = self._unsaved, self._untold, self.book.findings, list[bool]()
        rows, changed = [(key, self.matrix.rows(key)) for key in unsaved], findings != self._book_saved
        self._unsaved, self._untold = {}, []

        def write() -> None:
            if rows:
                self.store.put_cells(rows)
            if untold or changed:
                self.store.put_findings(findings, untold)
            written.append(True)

        try:
            yield write
        finally:
            if written:
                self._book_saved = findings
            else:
                self._unsaved, self._untold = {**unsaved, **self._unsaved}, [*untold, *self._untold]

    def save(self, write: Callable[[], object]) -> None:
        """A disk that is full stops nothing: memory goes on, and the next review writes what is missing.

        At once, or as soon as no thread writes: the event loop waits for none.
        """
        if self.store.writer.busy:
            self.store.writer.later(lambda: self.save(write))
            return
        try:
            wrote = write()
        except StoreError as error:
            self.cannot_write(error)
        else:
            self.problem = self.problem if wrote is False else ""

    async def saved(self, write: Callable[[], object]) -> None:
        """As `save`, in a thread: it returns when it was tried."""
        try:
            await self.store.beside(write)
        except StoreError as error:
            self.cannot_write(error)
        else:
            self.problem = ""

    def end(self) -> None:
        """Write what was cut off while it waited for the disk, and what the next review would have written."""
        self.save(self._write)

    def cannot_write(self, error: StoreError) -> None:
        """Say so, once."""
        if str(error) != self.problem:
            log.error("store", problem=str(error))
        self.problem = str(error)

    def standing(self) -> set[str]:
        """The main rounds that a current cell, or a finding that is not long over, stands on."""
        saved = self.book.findings == self._book_saved
        return self.matrix.rounds | forgetting.standing(self.store, self.book, saved=saved)
