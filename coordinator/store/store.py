"""What agents reported, round by round, and what was concluded from it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from coordinator.clock import since_boot
from coordinator.store import cells, retention
from coordinator.store.ageing import Ageing
from coordinator.store.codec import decode, encode, pack
from coordinator.store.file import File, StoreError
from coordinator.store.held import HeldRound, PackedReport, Parts, Report, group_of, packed
from coordinator.store.retention import Forgotten
from coordinator.store.spools import NEVER_SENT, Gap, Losses, Spools, Taken
from coordinator.store.strays import bytes_of_stray, fits, gap_of
from coordinator.store.writer import Writer
from reachability.life import Event, Finding
from reachability.matrix import CellKey, Judged
from reachability.observation import Lookup
from reachability.ports import PortSet
from reachability.round_data import RoundSpec

_T = TypeVar("_T")
_STEPPED = "stepped"  # in the table meta: by how much the clock was set that the rounds have, seconds


class Store:
    """Everything that outlives the coordinator. One process at a time: a second one is refused.

    What changes something raises StoreError where the disk does not take it, and has changed nothing then. It may be called
    in a thread, by `beside`; what reads sees what is committed, and belongs on the event loop.
    """

    def __init__(self, state_dir: Path, *, steady: Callable[[], float] = since_boot, boot: str | None = None) -> None:
        """`steady` gives seconds that never jump while the machine is on, `boot` names from when to when it is."""
        self._file = File(state_dir)
        self._db, self._reads = self._file.db, self._file.reads
        self._spools = Spools(self._db)
        self.writer = Writer()
        self._stepped: float = self.get(_STEPPED, float, 0.0)  # by how much the clock was ever set; the rounds follow
        self._findings = dict(self._db.execute("SELECT id, body FROM findings"))
        self._age = Ageing(self._db, steady, boot)
        self._keep_age()
        self._reports = int(self._db.execute("SELECT COALESCE(MAX(number), 0) FROM unjudged").fetchone()[0])
        self._before = self._reports

    @property
    def path(self) -> Path:
        """Its file, for `reader`."""
        return self._file.path

    async def beside(self, write: Callable[[], _T]) -> _T:
        """Let one of the below write in a thread; the event loop goes on, and others that write wait for their turn."""

        def alone() -> _T:
            self._before = self._reports
            return write()

        return await self.writer(alone)

    def close(self) -> None:
        """Close it and let another coordinator have it."""
        self.writer.close()
        self._keep_age()
        self._file.close()

    def _keep_age(self) -> None:
        with contextlib.suppress(StoreError), self._file.writing():  # a full disk: what is held is kept longer
            self._age.keep()

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
            taken = self._spools.take(agent, spool, sequence, oldest, gaps, received, at, self._age())
            # Of a sequence that is known, too: in a spool whose file was set back it is another batch's by now. What comes after it
            # was counted as lost stays lost.
            if not taken.new and self._spools.is_lost(agent, spool, sequence):
                return taken
            before, left = self._reports, self._add_reports(map(packed, reports), received)
            if taken.new and left:
                gap = gap_of(agent, spool, sequence, left, received, at)
                self._spools.lose(gap)
                taken = replace(taken, lost=(*taken.lost, gap))
            elif not taken.new and (left or self._reports > before):  # what is left out comes again under the other id
                taken = replace(taken, new=self._reports > before, acknowledged=NEVER_SENT, set_back=True)
        return taken

    def gaps(self) -> list[Gap]:
        """All that is known to be lost, the newest first."""
        return Spools(self._reads).gaps()

    def losses(self) -> Mapping[str, Losses]:
        """The same, added up by agent."""
        return Spools(self._reads).losses()

    def _add_reports(self, reports: Iterable[PackedReport], received: float) -> int:
        """How many are left out, as strays that are too many. What is here is not added again."""
        age, left = self._age(), 0
        for report in reports:
            what = (report.round, report.agent, report.kind, report.body)
            # A spool that was set back sends what it holds under another id: some of that is here.
            if self._db.execute(
                "SELECT 1 FROM reports WHERE round = ? AND agent = ? AND kind = ? AND body = ?", what
            ).fetchone():
                continue
            stray = bytes_of_stray(self._db, report)
            if stray and not fits(self._db, report.agent, stray):
                left += 1
                continue
            row = self._db.execute(
                "INSERT INTO reports (round, agent, kind, body, received, kept, stray) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*what, received, age, stray),
            ).lastrowid
            self._reports += 1
            self._db.execute(
                "INSERT OR REPLACE INTO unjudged SELECT round, ? FROM rounds WHERE round = ?",
                (self._reports, report.round),
            )
            if report.kept is not None:
                values = (row, report.round, received, report.kept, age)
                self._db.execute("INSERT INTO packets VALUES (?, ?, ?, ?, ?)", values)
        return left

    @property
    def reports(self) -> int:
        """A number that grows with each report that is stored, once whoever stores it knows that it is."""
        return self._before if self.writer.busy else self._reports

    def unjudged(self) -> list[str]:
        """The main rounds with reports that nobody has judged: they came, and the coordinator died."""
        rows = "SELECT main FROM unjudged JOIN rounds USING (round) GROUP BY main ORDER BY MIN(number)"
        return [main for (main,) in self._reads.execute(rows)]

    def judged(self, rounds: Iterable[str], reports: int) -> None:
        """What came of these rounds while `reports` was that number is in matrix and findings."""
        with self._file.writing():
            rows = [(name, reports) for name in rounds]
            self._db.executemany("DELETE FROM unjudged WHERE round = ? AND number <= ?", rows)

    # -- rounds ---------------------------------------------------------------------------------------------------

    def start_round(self, spec: RoundSpec, main: str, started: float) -> None:
        """Remember what was asked, before it is."""
        with self._shifting():  # those before it
            self._db.execute(
                "INSERT OR REPLACE INTO rounds VALUES (?, ?, ?, ?, ?, ?)",
                (spec.round, main, started, pack(spec), encode({}), self._age()),
            )

    def set_parts(self, round_id: str, parts: Parts) -> None:
        """Remember who took part, and how."""
        with self._file.writing():
            self._db.execute("UPDATE rounds SET armed = ? WHERE round = ?", (encode(parts), round_id))

    def clock_stepped(self, seconds: float) -> None:
        """The clock was set by this much: rounds began as long ago as before, also before `shift_rounds` has written it."""
        self._stepped += seconds

    def shift_rounds(self) -> None:
        """Write down by how much the clock was set."""
        with self._shifting():
            pass

    @contextlib.contextmanager
    def _shifting(self) -> Iterator[None]:
        """A transaction that shifts the rounds first."""
        stepped = self._stepped  # it may be set again meanwhile
        with self._file.writing():
            row = self._db.execute("SELECT value FROM meta WHERE name = ?", (_STEPPED,)).fetchone()
            if seconds := stepped - _seconds(row and row[0]):
                self._db.execute("UPDATE rounds SET started = started + ? WHERE started != 0", (seconds,))
                self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_STEPPED, encode(stepped)))
            yield

    def undate_rounds(self, after: float) -> None:
        """Rounds that began later than now did so by a clock that was set back since: when it was is not known any more."""
        with self._file.writing():
            self._db.execute("UPDATE rounds SET started = 0 WHERE started > ?", (after,))

    def group_of(self, round_id: str) -> list[HeldRound]:
        """A round with its follow-ups, the main one first."""
        return group_of(self._reads, round_id)

    def began(self, round_id: str) -> float:
        """When the main round of a round's group began; 0 for an unknown one."""
        rows = (
            "SELECT started, (SELECT value FROM meta WHERE name = ?) FROM rounds"
            " WHERE round = (SELECT main FROM rounds WHERE round = ?)"
        )
        row = self._reads.execute(rows, (_STEPPED, round_id)).fetchone()  # of one moment
        return float(row[0]) + self._stepped - _seconds(row[1]) if row and row[0] else 0.0

    # -- cells, findings, the rest --------------------------------------------------------------------------------

    def cells(self) -> list[tuple[CellKey, PortSet, Judged]]:
        """Every current cell."""
        return cells.cells(self._reads)

    def old_cells(self, than_s: float) -> set[CellKey]:
        """The keys with cells that were written longer ago."""
        return cells.old_cells(self._reads, self._age() - than_s)

    def put_cells(self, rows: Iterable[tuple[CellKey, Sequence[tuple[PortSet, Judged]]]]) -> None:
        """Replace all rows of each key; a key without entries is gone."""
        age = self._age()
        with self._file.writing():
            cells.put_cells(self._db, rows, age)

    def findings(self) -> list[Finding]:
        """Every finding of the book."""
        return [decode(body, Finding) for (body,) in self._reads.execute("SELECT body FROM findings")]

    def old_findings(self, than_s: float) -> set[str]:
        """Those in which nothing has changed for longer."""
        rows = "SELECT id FROM findings WHERE kept < ?"
        return {name for (name,) in self._reads.execute(rows, (self._age() - than_s,))}

    def put_findings(self, findings: Iterable[Finding], events: Iterable[Event]) -> None:
        """Replace the book, and add events."""
        book, age = {finding.id: encode(finding) for finding in findings}, self._age()
        with self._file.writing():
            gone = [(name,) for name in self._findings if name not in book]
            self._db.executemany("DELETE FROM findings WHERE id = ?", gone)
            changed = [(name, body, age) for name, body in book.items() if self._findings.get(name) != body]
            self._db.executemany("INSERT OR REPLACE INTO findings VALUES (?, ?, ?)", changed)
            rows = [(encode(event), age) for event in events]
            self._db.executemany("INSERT INTO events (body, kept) VALUES (?, ?)", rows)
        self._findings = book

    def events(self, most: int = 1000) -> list[Event]:
        """The newest events, oldest first."""
        rows = self._reads.execute("SELECT body FROM events ORDER BY id DESC LIMIT ?", (most,)).fetchall()
        return [decode(body, Event) for (body,) in reversed(rows)]

    def lookups(self) -> dict[str, dict[str, Lookup]]:
        """Agent to what names resolved to there last."""
        found: dict[str, dict[str, Lookup]] = {}
        for agent, name, body in self._reads.execute("SELECT agent, name, body FROM lookups"):
            found.setdefault(agent, {})[name] = decode(body, Lookup)
        return found

    def put_lookups(self, agent: str, lookups: Iterable[Lookup]) -> None:
        """Remember what names resolved to."""
        rows = [(agent, lookup.name, encode(lookup)) for lookup in lookups]
        with self._file.writing():
            self._db.executemany("INSERT OR REPLACE INTO lookups VALUES (?, ?, ?)", rows)

    def get(self, name: str, kind: type[_T], default: _T) -> _T:
        """A value by name."""
        row = self._reads.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if row is None else decode(row[0], kind)

    def put(self, name: str, value: Any) -> None:
        """Keep a value by name."""
        with self._file.writing():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, encode(value)))

    # -- what is forgotten ----------------------------------------------------------------------------------------

    def forget(self, standing: Iterable[str]) -> Forgotten:
        """Let go of what `retention` says, but for what the main rounds `standing` led to; give room back to the disk."""
        with self._file.writing():
            forgotten = retention.forget(self._db, self._spools, self._age(), json.dumps(list(standing)))
            self._age.keep()
        self._file.shrink()
        return forgotten

    def forget_lookups(self, agent: str, names: Iterable[str]) -> None:
        """Let go of what names resolved to at an agent that no longer asks for them."""
        with self._file.writing():
            self._db.executemany("DELETE FROM lookups WHERE agent = ? AND name = ?", [(agent, name) for name in names])


def _seconds(stored: bytes | None) -> float:
    return 0.0 if stored is None else decode(stored, float)
