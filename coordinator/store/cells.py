"""The current cells as they are kept: one row for each run of ports with one judgement."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from coordinator.store.codec import decode, encode
from reachability.matrix import CellKey, Judged
from reachability.ports import ICMP_CELL, PortSet, text_of

_NAMES = ("agent", "source_address", "destination", "address", "protocol")
_KEY = ", ".join(_NAMES)


def cells(db: sqlite3.Connection) -> list[tuple[CellKey, PortSet, Judged]]:
    """Every current cell."""
    result = []
    for *key, ports, judged in db.execute(f"SELECT {_KEY}, ports, judged FROM cells"):  # noqa: S608 - a constant
        result.append((_cell(key), PortSet.parse(ports) if ports else ICMP_CELL, decode(judged, Judged)))
    return result


def old_cells(db: sqlite3.Connection, before: float) -> set[CellKey]:
    """The keys with cells that were written at an earlier age of the store, seconds."""
    rows = f"SELECT DISTINCT {_KEY} FROM cells WHERE kept < ?"  # noqa: S608 - a constant
    return {_cell(key) for key in db.execute(rows, (before,))}


def put_cells(
    db: sqlite3.Connection, rows: Iterable[tuple[CellKey, Sequence[tuple[PortSet, Judged]]]], age: float
) -> None:
    """Replace all rows of each key; a key without entries is gone."""
    for key, entries in rows:
        values = (key.agent, key.source_address, key.destination, key.address, key.protocol.value)
        db.execute(
            "DELETE FROM cells WHERE agent = ? AND source_address = ? AND destination = ? AND address = ? AND protocol = ?",
            values,
        )
        db.executemany(
            "INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(*values, text_of(ports) or "", encode(judged), age) for ports, judged in entries],
        )


def _cell(key: Sequence[object]) -> CellKey:
    return msgspec.convert(dict(zip(_NAMES, key, strict=True)), CellKey)
