"""The coordinator's store: SQLite in WAL mode, one writer. What is acknowledged to an agent is committed here first."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import zstandard

from reachability.life import Event, Finding
from reachability.matrix import CellKey, Judged
from reachability.observation import KeptPacket, Lookup, RoundSpec, SourceReport, WitnessReport
from reachability.ports import PortSet

SCHEMA = 2
KEEP_ROUNDS_S = 6 * 3600.0  # what a late report may still correct; the cells that they led to stay
KEEP_PACKETS_S = 300.0  # of rounds that no cell and no finding stands on (any more)
_MIGRATIONS = (
    """
    CREATE TABLE spools (spool TEXT PRIMARY KEY, agent TEXT NOT NULL, acknowledged INTEGER NOT NULL) STRICT;
    CREATE TABLE batches (spool TEXT NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (spool, sequence)) STRICT, WITHOUT ROWID;
    CREATE TABLE rounds (
      round TEXT PRIMARY KEY, main TEXT NOT NULL, started REAL NOT NULL, spec BLOB NOT NULL, armed BLOB NOT NULL
    ) STRICT;
    CREATE INDEX rounds_main ON rounds (main);
    CREATE INDEX rounds_started ON rounds (started);
    CREATE TABLE reports (
      id INTEGER PRIMARY KEY, round TEXT NOT NULL, agent TEXT NOT NULL, kind TEXT NOT NULL, received REAL NOT NULL,
      body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX reports_round ON reports (round);
    CREATE TABLE cells (
      agent TEXT, source_address TEXT, destination TEXT, address TEXT, protocol TEXT, ports TEXT NOT NULL, judged BLOB NOT NULL
    ) STRICT;
    CREATE INDEX cells_key ON cells (agent, source_address, destination, address, protocol);
    CREATE TABLE findings (id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;
    CREATE TABLE events (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
    CREATE TABLE lookups (agent TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (agent, name)) STRICT;
    CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
    """,
    # What a report kept of the packets, apart from it: it is much, and soon forgotten unless something stands on it.
    """
    CREATE TABLE packets (report INTEGER PRIMARY KEY, round TEXT NOT NULL, received REAL NOT NULL, body BLOB NOT NULL) STRICT;
    CREATE INDEX packets_round ON packets (round);
    """,
)
Report = SourceReport | WitnessReport
_T = TypeVar("_T")


class StoreError(Exception):
    """The store cannot be used; the text says why, for people."""


class Store:
    """Everything that outlives the coordinator. One process at a time: a second one is refused."""

    def __init__(self, state_dir: Path) -> None:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(state_dir / "lock")
        try:
            self._db = sqlite3.connect(state_dir / "store.sqlite", isolation_level=None)
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._migrate()
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            os.close(self._lock)
            raise StoreError(
                f"{state_dir}/store.sqlite cannot be read: {error}. Move it away to begin anew, or restore a backup."
            ) from error
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Close it and let another coordinator have it."""
        self._db.close()
        os.close(self._lock)

    # -- what agents send -----------------------------------------------------------------------------------------

    def take(
        self, agent: str, spool: str, sequence: int, oldest: int, reports: Sequence[Report], received: float
    ) -> tuple[bool, int]:
        """Commit a batch once; (whether it was new, the sequence up to which all of its spool is held).

        What is below `oldest`, the lowest sequence that the spool still has, is lost: the count goes over it.
        """
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT OR IGNORE INTO spools VALUES (?, ?, ?)", (spool, agent, 0))
            (acknowledged,) = self._db.execute("SELECT acknowledged FROM spools WHERE spool = ?", (spool,)).fetchone()
            acknowledged = max(acknowledged, min(oldest, sequence) - 1)
            known = self._db.execute(
                "SELECT 1 FROM batches WHERE spool = ? AND sequence = ?", (spool, sequence)
            ).fetchone()
            new = sequence > acknowledged and known is None
            if new:
                self._db.execute("INSERT INTO batches VALUES (?, ?)", (spool, sequence))
                self._add_reports(reports, received)
            while self._db.execute(
                "DELETE FROM batches WHERE spool = ? AND sequence = ?", (spool, acknowledged + 1)
            ).rowcount:
                acknowledged += 1
            self._db.execute("UPDATE spools SET acknowledged = ? WHERE spool = ?", (acknowledged, spool))
        return new, acknowledged

    def _add_reports(self, reports: Iterable[Report], received: float) -> None:
        for report in reports:
            row = self._db.execute(
                "INSERT INTO reports (round, agent, kind, received, body) VALUES (?, ?, ?, ?, ?)",
                (report.round, report.agent, _kind(report), received, _encode(replace(report, kept=()))),
            ).lastrowid
            if report.kept:
                body = zstandard.ZstdCompressor(level=3).compress(_encode(report.kept))
                self._db.execute("INSERT INTO packets VALUES (?, ?, ?, ?)", (row, report.round, received, body))

    # -- rounds ---------------------------------------------------------------------------------------------------

    def start_round(self, spec: RoundSpec, main: str, started: float) -> None:
        """Remember what was asked, before it is."""
        self._db.execute(
            "INSERT OR REPLACE INTO rounds VALUES (?, ?, ?, ?, ?)",
            (spec.round, main, started, _encode(spec), _encode({})),
        )

    def set_armed(self, round_id: str, armed: dict[str, bool]) -> None:
        """Remember who said to be ready."""
        self._db.execute("UPDATE rounds SET armed = ? WHERE round = ?", (_encode(armed), round_id))

    def group_of(self, round_id: str) -> list[tuple[RoundSpec, dict[str, bool], list[tuple[Report, float]]]]:
        """A round with its follow-ups, the main one first: what was asked, who was ready, the reports with their times."""
        row = self._db.execute("SELECT main FROM rounds WHERE round = ?", (round_id,)).fetchone()
        if row is None:
            return []
        rounds = self._db.execute(
            "SELECT round, spec, armed FROM rounds WHERE main = ? ORDER BY round != main, started", row
        ).fetchall()
        return [
            (
                _decode(spec, RoundSpec),
                _decode(armed, dict[str, bool]),
                self._reports_of(name),
            )
            for name, spec, armed in rounds
        ]

    def _reports_of(self, name: str) -> list[tuple[Report, float]]:
        rows = self._db.execute(
            "SELECT kind, reports.received, reports.body, packets.body FROM reports LEFT JOIN packets ON report = id "
            "WHERE reports.round = ? ORDER BY id",
            (name,),
        )
        found: list[tuple[Report, float]] = []
        for kind, received, body, packets in rows:
            report: Report = _decode(body, WitnessReport) if kind == "witness" else _decode(body, SourceReport)
            if packets is not None:
                kept = _decode(zstandard.ZstdDecompressor().decompress(packets), tuple[KeptPacket, ...])
                report = replace(report, kept=kept)
            found.append((report, received))
        return found

    def forget_before(self, at: float, standing: Iterable[str]) -> None:
        """Drop rounds and reports that are older, but for those of main rounds that something stands on."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            names = json.dumps(list(standing))
            self._db.execute(
                "DELETE FROM reports WHERE received < ? AND round NOT IN "
                "(SELECT round FROM rounds WHERE main IN (SELECT value FROM json_each(?)))",
                (at, names),
            )
            self._db.execute(
                "DELETE FROM rounds WHERE started < ? AND main NOT IN (SELECT value FROM json_each(?))", (at, names)
            )
            self._db.execute("DELETE FROM packets WHERE report NOT IN (SELECT id FROM reports)")

    def forget_packets(self, at: float, standing: Iterable[str]) -> None:
        """Drop the packets that older reports kept, but for those of main rounds that something stands on."""
        self._db.execute(
            "DELETE FROM packets WHERE received < ? AND round NOT IN "
            "(SELECT round FROM rounds WHERE main IN (SELECT value FROM json_each(?)))",
            (at, json.dumps(list(standing))),
        )

    # -- cells, findings, the rest --------------------------------------------------------------------------------

    def cells(self) -> list[tuple[CellKey, PortSet | None, Judged]]:
        """Every current cell."""
        result = []
        for *key, ports, judged in self._db.execute("SELECT * FROM cells"):
            names = ("agent", "source_address", "destination", "address", "protocol")
            cell = msgspec.convert(dict(zip(names, key, strict=True)), CellKey)
            result.append((cell, PortSet.parse(ports) if ports else None, _decode(judged, Judged)))
        return result

    def put_cells(self, rows: Iterable[tuple[CellKey, Sequence[tuple[PortSet | None, Judged]]]]) -> None:
        """Replace all rows of each key."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for key, entries in rows:
                values = (key.agent, key.source_address, key.destination, key.address, key.protocol.value)
                self._db.execute(
                    "DELETE FROM cells WHERE agent = ? AND source_address = ? AND destination = ? AND address = ? "
                    "AND protocol = ?",
                    values,
                )
                self._db.executemany(
                    "INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(*values, "" if ports is None else str(ports), _encode(judged)) for ports, judged in entries],
                )

    def findings(self) -> list[Finding]:
        """Every finding of the book."""
        return [_decode(body, Finding) for (body,) in self._db.execute("SELECT body FROM findings")]

    def put_findings(self, findings: Iterable[Finding], events: Iterable[Event]) -> None:
        """Replace the book, and add events."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM findings")
            self._db.executemany("INSERT INTO findings VALUES (?, ?)", [(f.id, _encode(f)) for f in findings])
            self._db.executemany("INSERT INTO events (body) VALUES (?)", [(_encode(event),) for event in events])

    def events(self, most: int = 1000) -> list[Event]:
        """The newest events, oldest first."""
        rows = self._db.execute("SELECT body FROM events ORDER BY id DESC LIMIT ?", (most,)).fetchall()
        return [_decode(body, Event) for (body,) in reversed(rows)]

    def lookups(self) -> dict[str, dict[str, Lookup]]:
        """Agent to what names resolved to there last."""
        found: dict[str, dict[str, Lookup]] = {}
        for agent, name, body in self._db.execute("SELECT agent, name, body FROM lookups"):
            found.setdefault(agent, {})[name] = _decode(body, Lookup)
        return found

    def put_lookups(self, agent: str, lookups: Iterable[Lookup]) -> None:
        """Remember what names resolved to."""
        rows = [(agent, lookup.name, _encode(lookup)) for lookup in lookups]
        self._db.executemany("INSERT OR REPLACE INTO lookups VALUES (?, ?, ?)", rows)

    def get(self, name: str, kind: type[_T], default: _T) -> _T:
        """A value by name."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if row is None else _decode(row[0], kind)

    def put(self, name: str, value: Any) -> None:
        """Keep a value by name."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, _encode(value)))

    def _migrate(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise StoreError(
                f"the store has schema version {version}, this segwatch knows {SCHEMA}: use a newer segwatch"
            )
        for number in range(version, SCHEMA):
            self._db.executescript(f"BEGIN IMMEDIATE;{_MIGRATIONS[number]}PRAGMA user_version = {number + 1};COMMIT;")


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise StoreError(
            f"{path.parent} is in use by another coordinator (process {holder or 'unknown'}). "
            "Stop that one, or give this one a --state-dir of its own."
        ) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def _kind(report: Report) -> str:
    return "witness" if isinstance(report, WitnessReport) else report.role


def _encode(value: Any) -> bytes:
    return msgspec.msgpack.encode(value, enc_hook=_encode_ports)


def _decode(data: bytes, kind: type[_T]) -> _T:
    return msgspec.msgpack.decode(data, type=kind, dec_hook=_decode_ports)


def _encode_ports(ports: Any) -> dict[str, tuple[tuple[int, int], ...]]:
    """The one value of findings that is no dataclass."""
    if isinstance(ports, PortSet):
        return {"ranges": ports.ranges}
    raise NotImplementedError(f"{type(ports).__name__} is not stored")


def _decode_ports(kind: type[Any], stored: Any) -> PortSet:
    if kind is PortSet:
        return PortSet.from_ranges(stored["ranges"])
    raise NotImplementedError(f"{kind.__name__} is not stored")
