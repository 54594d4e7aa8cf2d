"""One moment of a store, read from another process, whether the coordinator runs or not; nothing is changed."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import zstandard

from coordinator.store.codec import decode, plain
from coordinator.store.file import StoreError, read_only
from coordinator.store.held import HeldRound, group_of
from reachability.life import Event, Finding

_T = TypeVar("_T")


class Reader:
    """What the store holds at this moment. Every failure is a StoreError."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def findings(self) -> list[Finding]:
        """Every finding of the book."""
        return _said(lambda: [decode(body, Finding) for (body,) in self._db.execute("SELECT body FROM findings")])

    def events(self, most: int = 1000) -> list[Event]:
        """The newest events, the newest first."""
        rows = "SELECT body FROM events ORDER BY id DESC LIMIT ?"
        return _said(lambda: [decode(body, Event) for (body,) in self._db.execute(rows, (most,))])

    def newest(self, most: int) -> list[str]:
        """The main rounds that began last, the newest first."""
        rows = "SELECT round FROM rounds WHERE round = main ORDER BY started DESC, round DESC LIMIT ?"
        return _said(lambda: [name for (name,) in self._db.execute(rows, (most,))])

    def main_of(self, round_id: str) -> str:
        """The main round of a round's group; "" for one that is not known."""
        row = _said(lambda: self._db.execute("SELECT main FROM rounds WHERE round = ?", (round_id,)).fetchone())
        return str(row[0]) if row else ""

    def group_of(self, round_id: str) -> list[HeldRound]:
        """A round with its follow-ups, the main one first; empty for one that is not known."""
        return _said(lambda: group_of(self._db, round_id))


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """Read a store; StoreError where there is none, or it cannot be read."""
    if not path.is_file():
        raise StoreError(f"there is no store {path}")
    try:
        with read_only(path) as db:
            yield Reader(db)
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def as_json(value: Any) -> Any:
    """A value of the store as JSON has it."""
    return msgspec.to_builtins(value, enc_hook=plain)


def _said(read: Callable[[], _T]) -> _T:
    try:
        return read()
    except (sqlite3.Error, msgspec.DecodeError, zstandard.ZstdError, ValueError, KeyError) as error:
        raise StoreError(f"the store cannot be read: {error}") from error
