"""What agents reported, round by round, and what was concluded from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from coordinator.store import retention
from coordinator.store.codec import decode, encode, pack
from coordinator.store.file import File
from coordinator.store.held import HeldRound, PackedReport, Parts, Report, group_of, packed
from coordinator.store.retention import Forgotten
from coordinator.store.spools import Gap, Losses, Spools, Taken
from reachability.life import Event, Finding
from reachability.matrix import CellKey, Judged
from reachability.observation import Lookup
from reachability.ports import ICMP_CELL, PortSet, text_of
from reachability.round_data import RoundSpec

_T = TypeVar("_T")


class Store:
    """Everything that outlives the coordinator. One process at a time: a second one is refused.

    What changes something raises StoreError where the disk does not take it, and has changed nothing then.
    """

    def __init__(self, state_dir: Path) -> None:
        self._file = File(state_dir)
        self._db = self._file.db
        self._spools = Spools(self._db)
        self._unshifted = 0.0  # by how much the clock was set that a full disk kept from the rounds, seconds
        self._findings = dict(self._db.execute("SELECT id, body FROM findings"))

    @property
    def path(self) -> Path:
        """Its file, for `reader`."""
        return self._file.path

    def close(self) -> None:
        """Close it and let another coordinator have it."""
        self._file.close()

    # -- what agents send -----------------------------------------------------------------------------------------

    def take(
        self,
        agent: str,
        spool: str,
        sequence: int,
        oldest: int,
        reports: Iterable[Report | PackedReport],
        received: float,
        *,
        gaps: Sequence[Gap] = (),
        now: float | None = None,
    ) -> Taken:
        """Commit a batch once, and what is missing of its spool.

        What is missing of `gaps`, and below `oldest`, the lowest sequence that the spool still has, is lost, once.
        `received` is the coordinator's time at which the batch was made, `now` that at which it came.
        """
        with self._file.writing():
            at = received if now is None else now
            taken = self._spools.take(agent, spool, sequence, oldest, gaps, received, at)
            if taken.new:
                self._add_reports(map(packed, reports), received)
        return taken

    def gaps(self) -> list[Gap]:
        """All that is known to be lost, the newest first."""
        return self._spools.gaps()

    def losses(self) -> Mapping[str, Losses]:
        """The same, added up by agent."""
        return self._spools.losses()

    def _add_reports(self, reports: Iterable[PackedReport], received: float) -> None:
        for report in reports:
            what = (report.round, report.agent, report.kind, report.body)
            # A spool that was set back sends what it holds under another id: some of that is here.
            if self._db.execute(
                "SELECT 1 FROM reports WHERE round = ? AND agent = ? AND kind = ? AND body = ?", what
            ).fetchone():
                continue
            row = self._db.execute(
                "INSERT INTO reports (round, agent, kind, body, received) VALUES (?, ?, ?, ?, ?)", (*what, received)
            ).lastrowid
            if report.kept is not None:
                self._db.execute("INSERT INTO packets VALUES (?, ?, ?, ?)", (row, report.round, received, report.kept))

    # -- rounds ---------------------------------------------------------------------------------------------------

    def start_round(self, spec: RoundSpec, main: str, started: float) -> None:
        """Remember what was asked, before it is."""
        with self._file.writing():
            self._shift()  # of those before it
            self._db.execute(
                "INSERT OR REPLACE INTO rounds VALUES (?, ?, ?, ?, ?)",
                (spec.round, main, started, pack(spec), encode({})),
            )
        self._unshifted = 0.0

    def set_parts(self, round_id: str, parts: Parts) -> None:
        """Remember who took part, and how."""
        with self._file.writing():
            self._db.execute("UPDATE rounds SET armed = ? WHERE round = ?", (encode(parts), round_id))

    def shift_rounds(self, seconds: float) -> None:
        """The clock was set by this much: rounds began as long ago as before, also where the disk does not take it yet."""
        self._unshifted += seconds
        with self._file.writing():
            self._shift()
        self._unshifted = 0.0

    def _shift(self) -> None:
        if self._unshifted:
            self._db.execute("UPDATE rounds SET started = started + ? WHERE started != 0", (self._unshifted,))

    def undate_rounds(self, after: float) -> None:
        """Rounds that began later than now did so by a clock that was set back since: when it was is not known any more."""
        with self._file.writing():
            self._db.execute("UPDATE rounds SET started = 0 WHERE started > ?", (after,))

    def group_of(self, round_id: str) -> list[HeldRound]:
        """A round with its follow-ups, the main one first."""
        return group_of(self._db, round_id)

    def began(self, round_id: str) -> float:
        """When the main round of a round's group began; 0 for an unknown one."""
        row = self._db.execute(
            "SELECT started FROM rounds WHERE round = (SELECT main FROM rounds WHERE round = ?)", (round_id,)
        ).fetchone()
        return float(row[0]) + self._unshifted if row and row[0] else 0.0

    # -- cells, findings, the rest --------------------------------------------------------------------------------

    def cells(self) -> list[tuple[CellKey, PortSet, Judged]]:
        """Every current cell."""
        result = []
        for *key, ports, judged in self._db.execute("SELECT * FROM cells"):
            names = ("agent", "source_address", "destination", "address", "protocol")
            cell = msgspec.convert(dict(zip(names, key, strict=True)), CellKey)
            result.append((cell, PortSet.parse(ports) if ports else ICMP_CELL, decode(judged, Judged)))
        return result

    def put_cells(self, rows: Iterable[tuple[CellKey, Sequence[tuple[PortSet, Judged]]]]) -> None:
        """Replace all rows of each key; a key without entries is gone."""
        with self._file.writing():
            for key, entries in rows:
                values = (key.agent, key.source_address, key.destination, key.address, key.protocol.value)
                self._db.execute(
                    "DELETE FROM cells WHERE agent = ? AND source_address = ? AND destination = ? AND address = ? "
                    "AND protocol = ?",
                    values,
                )
                self._db.executemany(
                    "INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(*values, text_of(ports) or "", encode(judged)) for ports, judged in entries],
                )

    def findings(self) -> list[Finding]:
        """Every finding of the book."""
        return [decode(body, Finding) for (body,) in self._db.execute("SELECT body FROM findings")]

    def put_findings(self, findings: Iterable[Finding], events: Iterable[Event]) -> None:
        """Replace the book, and add events."""
        book = {finding.id: encode(finding) for finding in findings}
        with self._file.writing():
            gone = [(name,) for name in self._findings if name not in book]
            self._db.executemany("DELETE FROM findings WHERE id = ?", gone)
            changed = [(name, body) for name, body in book.items() if self._findings.get(name) != body]
            self._db.executemany("INSERT OR REPLACE INTO findings VALUES (?, ?)", changed)
            self._db.executemany("INSERT INTO events (body) VALUES (?)", [(encode(event),) for event in events])
        self._findings = book

    def events(self, most: int = 1000) -> list[Event]:
        """The newest events, oldest first."""
        rows = self._db.execute("SELECT body FROM events ORDER BY id DESC LIMIT ?", (most,)).fetchall()
        return [decode(body, Event) for (body,) in reversed(rows)]

    def lookups(self) -> dict[str, dict[str, Lookup]]:
        """Agent to what names resolved to there last."""
        found: dict[str, dict[str, Lookup]] = {}
        for agent, name, body in self._db.execute("SELECT agent, name, body FROM lookups"):
            found.setdefault(agent, {})[name] = decode(body, Lookup)
        return found

    def put_lookups(self, agent: str, lookups: Iterable[Lookup]) -> None:
        """Remember what names resolved to."""
        rows = [(agent, lookup.name, encode(lookup)) for lookup in lookups]
        with self._file.writing():
            self._db.executemany("INSERT OR REPLACE INTO lookups VALUES (?, ?, ?)", rows)

    def get(self, name: str, kind: type[_T], default: _T) -> _T:
        """A value by name."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if row is None else decode(row[0], kind)

    def put(self, name: str, value: Any) -> None:
        """Keep a value by name."""
        with self._file.writing():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, encode(value)))

    # -- what is forgotten ----------------------------------------------------------------------------------------

    def forget(self, now: float, standing: Iterable[str]) -> Forgotten:
        """Let go of what `retention` says, but for what the main rounds `standing` led to; give room back to the disk."""
        with self._file.writing():
            forgotten = retention.forget(self._db, self._spools, now, json.dumps(list(standing)))
        self._file.shrink()
        return forgotten

    def forget_lookups(self, agent: str, names: Iterable[str]) -> None:
        """Let go of what names resolved to at an agent that no longer asks for them."""
        with self._file.writing():
            self._db.executemany("DELETE FROM lookups WHERE agent = ? AND name = ?", [(agent, name) for name in names])
