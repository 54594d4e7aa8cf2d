"""Batches that the coordinator's store does not hold yet, in SQLite under (spool id, sequence).

A batch is deleted when the coordinator's cumulative `Ack` covers it, never because the broker took it. The spool id is
random, made with the file; the sequence goes on across restarts. Bounded in bytes and in age: what goes beyond folds into
a gap, which has the sequences of what it stands for and is sent and acknowledged like a batch. What a full disk does
not take gets sequences, and its gap, once it can be written. An acknowledgement of what was never sent says that the file
was set back, or is a copy: it is another spool from then on, since its next sequences are known to be others' batches.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agent.losses import Clock, Drop, Losses, Lost, Moment, boot_id, joined
from agent.spool_schema import SpoolError, migrate
from reachability.arrival import WitnessReport
from reachability.observation import SourceReport
from wire.columns import encode_reports, encode_spooled
from wire.envelope import MOST_MESSAGE_BYTES, seal
from wire.messages import Ack, Gap

MOST_BYTES = 64 * 1024 * 1024
MOST_AGE_S = 6 * 3600.0  # the coordinator has forgotten rounds that are older


@dataclass(frozen=True, slots=True)
class _Gap:
    """Sequences that nobody will see, contiguous, with what they stood for."""

    first: int
    last: int
    reports: int
    begun: Moment
    ended: Moment
    why: str


class Spool:
    """The file. Every method returns with the change on disk, as far as the disk tells the truth."""

    def __init__(
        self, path: Path, *, clock: Clock | None = None, most_bytes: int = MOST_BYTES, most_age_s: float = MOST_AGE_S
    ) -> None:
        self._clock = clock or Clock(boot=boot_id())
        self._most_bytes, self._most_age_s = most_bytes, most_age_s
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            # A sequence that a power cut takes back would be given twice, and the second batch dropped as known.
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA cache_size=-256")  # KiB: an idle agent is small
            migrate(self._db)
            row = self._db.execute("SELECT id FROM spool").fetchone()
            if row is None:
                row = (secrets.token_hex(8),)
                self._db.execute("INSERT INTO spool (id) VALUES (?)", row)
            self.id: str = row[0]
            self._losses = Losses(path.with_name(f"{path.name}.lost"), self.id)
            self._sent = self._highest()  # at most: an acknowledgement that covers more is of another file's batches
        except (sqlite3.Error, OSError) as error:
            what = "Free space there, and start again" if _is_full(error) else "Move it away to start a new one"
            tail = "" if _is_full(error) else "; what it held is lost"
            raise SpoolError(f"the spool {path} cannot be opened: {error}. {what}{tail}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
        self._losses.close()

    def put(self, *, sources: tuple[SourceReport, ...] = (), witnesses: tuple[WitnessReport, ...] = ()) -> int:
        """Keep a batch; returns its sequence. Where it is too much, the oldest fold into a gap.

        ValueError for a batch that no message can hold, sqlite3.Error where the disk does not take it: `lose` it then.
        """
        left, right = encode_reports(sources), encode_reports(witnesses)
        if len(left) + len(right) > MOST_MESSAGE_BYTES:
            seal(left + right)
        now, size = self._clock.now(), len(left) + len(right)
        with self._writing():
            self._fold_losses()
            cursor = self._db.execute(
                "INSERT INTO batch (boot, since_boot_s, wall_s, bytes, sources, witnesses, reports) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (now.boot, now.since_boot_s, now.wall_s, size, left, right, len(sources) + len(witnesses)),
            )
            assert cursor.lastrowid is not None
            self._fold_old()
            self._fold_most(cursor.lastrowid)
        return cursor.lastrowid

    def lose(self, why: Drop) -> None:
        """Count a report that could not be put, on disk even where the disk is full: it is in a later gap."""
        self._losses.add(self._clock.now(), why, in_gaps=self._in_gaps())
        with contextlib.suppress(sqlite3.Error):
            self.tidy()

    def tidy(self) -> None:
        """Fold what has grown too old, and what was lost, into gaps; sqlite3.Error where the disk does not let it."""
        if self._losses.lost.count > self._in_gaps() or self._too_old():
            with self._writing():
                self._fold_losses()
                self._fold_old()

    def sequences(self) -> tuple[int, ...]:
        """What waits for its acknowledgement, in order; a gap goes by its last sequence."""
        rows = self._db.execute("SELECT sequence FROM batch UNION SELECT last FROM gap ORDER BY 1")
        return tuple(row[0] for row in rows)

    def message(self, sequence: int) -> bytes | None:
        """A batch or gap as it is published now, its age inside; None when it is gone."""
        row = self._db.execute(
            "SELECT boot, since_boot_s, wall_s, sources, witnesses FROM batch WHERE sequence = ?", (sequence,)
        ).fetchone()
        gaps = [self._told(gap) for gap in self._gaps("WHERE last = ?", sequence)]
        if row is None and not gaps:
            return None
        (oldest,) = self._db.execute(
            "SELECT MIN(n) FROM (SELECT sequence n FROM batch UNION SELECT first FROM gap)"
        ).fetchone()
        self._sent = max(self._sent, sequence)
        *moment, sources, witnesses = row or ("", 0.0, 0.0, _NONE, _NONE)
        age = self._clock.age_s(Moment(*moment)) if row else gaps[0].ended_age_s
        left, right = msgspec.Raw(sources), msgspec.Raw(witnesses)
        return seal(
            encode_spooled(self.id, sequence, age_s=age, oldest=oldest, sources=left, witnesses=right, gaps=gaps)
        )

    def acknowledge(self, ack: Ack) -> int:
        """Delete what the coordinator's store holds; returns how many. An ack for another spool changes nothing.

        One beyond all that was sent deletes nothing either: `id` is a new one then.
        """
        if ack.spool != self.id:
            return 0
        if ack.sequence > self._sent:
            self._begin_anew()
            return 0
        with self._writing():
            gaps = self._db.execute("DELETE FROM gap WHERE last <= ?", (ack.sequence,)).rowcount
            return gaps + self._db.execute("DELETE FROM batch WHERE sequence <= ?", (ack.sequence,)).rowcount

    def _begin_anew(self) -> None:
        """Another id, under which all that waits is sent: twice rather than never, and the store knows a report again."""
        new = secrets.token_hex(8)
        with self._writing():
            self._fold_losses()
            self._db.execute("UPDATE spool SET id = ?, gap = gap + ?, losses = 0", (new, self._losses.lost.count))
        self.id = new
        self._losses.lost = Lost(new)

    @property
    def gap(self) -> int:
        """How many batches were dropped or lost since the spool was made."""
        (dropped,) = self._db.execute("SELECT gap FROM spool").fetchone()
        return int(dropped) + self._losses.lost.count

    @property
    def untold(self) -> int:
        """How many of these no acknowledgement covers yet: the coordinator may not know of them."""
        (waiting,) = self._db.execute("SELECT COALESCE(SUM(last - first + 1), 0) FROM gap").fetchone()
        return int(waiting) + self._losses.lost.count - self._in_gaps()

    def __len__(self) -> int:
        """How many batches wait."""
        return int(self._db.execute("SELECT COUNT(*) FROM batch").fetchone()[0])

    # -- gaps -----------------------------------------------------------------------------------------------------

    def _fold_most(self, newest: int) -> None:
        held = int(self._db.execute("SELECT SUM(bytes) FROM batch").fetchone()[0])
        dropped = []
        if held > self._most_bytes:
            for sequence, size in self._db.execute("SELECT sequence, bytes FROM batch ORDER BY sequence"):
                if held <= self._most_bytes or sequence == newest:
                    break
                held -= size
                dropped.append(sequence)
        self._fold(dropped, Drop.BYTES)

    def _fold_old(self) -> None:
        self._fold(self._too_old(), Drop.AGE)

    def _too_old(self) -> list[int]:
        old = []
        for sequence, *moment in self._db.execute(
            "SELECT sequence, boot, since_boot_s, wall_s FROM batch ORDER BY sequence"
        ):
            if self._clock.age_s(Moment(*moment)) <= self._most_age_s:
                break
            old.append(sequence)
        return old

    def _fold(self, sequences: Sequence[int], why: Drop) -> None:
        for sequence in sequences:
            *moment, reports = self._db.execute(
                "DELETE FROM batch WHERE sequence = ? RETURNING boot, since_boot_s, wall_s, reports", (sequence,)
            ).fetchone()
            at = Moment(*moment)
            self._add(_Gap(sequence, sequence, reports, at, at, why))
        if sequences:
            self._db.execute("UPDATE spool SET gap = gap + ?", (len(sequences),))

    def _fold_losses(self) -> None:
        """What was lost gets the next sequences, and is a gap from then on."""
        lost, before = self._losses.lost, self._in_gaps()
        count = lost.count - before
        if count <= 0 or lost.begun is None or lost.ended is None:
            return
        highest = self._highest()
        self._add(_Gap(highest + 1, highest + count, count, lost.begun, lost.ended, lost.why))
        self._db.execute("DELETE FROM sqlite_sequence WHERE name = 'batch'")
        self._db.execute("INSERT INTO sqlite_sequence VALUES ('batch', ?)", (highest + count,))
        self._db.execute("UPDATE spool SET losses = ?", (lost.count,))

    def _highest(self) -> int:
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batch'").fetchone()
        return int(row[0]) if row else 0

    def _in_gaps(self) -> int:
        """How many of the losses are in a gap."""
        return int(self._db.execute("SELECT losses FROM spool").fetchone()[0])

    def _add(self, new: _Gap) -> None:
        """Those that touch are one, so that there are never more gaps than batches, and one."""
        for old in self._gaps("WHERE last = ? OR first = ?", new.first - 1, new.last + 1):
            early, late = (old, new) if old.first < new.first else (new, old)
            why = joined(old.why, new.why)
            new = _Gap(early.first, late.last, old.reports + new.reports, early.begun, late.ended, why)
            self._db.execute("DELETE FROM gap WHERE first = ?", (old.first,))
        values = (
            new.first,
            new.last,
            new.reports,
            *(msgspec.msgpack.encode(m) for m in (new.begun, new.ended)),
            new.why,
        )
        self._db.execute("INSERT INTO gap VALUES (?, ?, ?, ?, ?, ?)", values)

    def _gaps(self, where: str, *values: int) -> list[_Gap]:
        rows = self._db.execute(f"SELECT * FROM gap {where} ORDER BY first", values).fetchall()  # noqa: S608 - constants
        return [
            _Gap(first, last, reports, _moment(begun), _moment(ended), why)
            for first, last, reports, begun, ended, why in rows
        ]

    def _told(self, gap: _Gap) -> Gap:
        return Gap(
            first=gap.first,
            last=gap.last,
            reports=gap.reports,
            why=gap.why,
            begun_age_s=self._clock.age_s(gap.begun),
            ended_age_s=self._clock.age_s(gap.ended),
        )

    # -- the file -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk may have ended it already
                self._db.execute("ROLLBACK")
            raise


_NONE = encode_reports(())


def _moment(data: bytes) -> Moment:
    return msgspec.msgpack.decode(data, type=Moment)


def _is_full(error: Exception) -> bool:
    return "full" in str(error) or getattr(error, "errno", 0) == 28  # noqa: PLR2004 - ENOSPC
