"""Batches that the coordinator's store does not hold yet, in SQLite under (spool id, sequence).

A batch is deleted when the coordinator's cumulative `Ack` covers it, never because the broker took it. The spool id is
random, made with the file; the sequence goes on over restarts. The file also keeps the highest sequences of the signed
messages that were taken, against replays.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from reachability.observation import SourceReport, WitnessReport
from wire.columns import encode_reports, encode_spooled
from wire.envelope import MOST_MESSAGE_BYTES, seal
from wire.messages import Ack
from wire.topics import DownChannel

MOST_BYTES = 64 * 1024 * 1024
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spool (id TEXT NOT NULL, gap INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS batch (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, since_boot_s REAL NOT NULL, wall_s REAL NOT NULL,
    bytes INTEGER NOT NULL, sources BLOB NOT NULL, witnesses BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS taken (channel TEXT PRIMARY KEY, sequence INTEGER NOT NULL);
"""


class SpoolError(Exception):
    """The spool cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The host's clocks, injected so that tests own the time."""

    since_boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    wall: Callable[[], float] = time.time
    boot: str = ""


class Spool:
    """The file. Every method returns with the change on disk as far as a kill -9 of this process can tell."""

    def __init__(self, path: Path, *, clock: Clock | None = None, most_bytes: int = MOST_BYTES) -> None:
        self._clock = clock or Clock(boot=boot_id())
        self._most_bytes = most_bytes
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA cache_size=-256")  # KiB: an idle agent is small
            self._db.executescript(_SCHEMA)
            row = self._db.execute("SELECT id FROM spool").fetchone()
            if row is None:
                row = (secrets.token_hex(8),)
                self._db.execute("INSERT INTO spool (id) VALUES (?)", row)
        except sqlite3.Error as error:
            msg = f"the spool {path} does not open: {error}. Move it away to start a new one; what it held is lost"
            raise SpoolError(msg) from error
        self.id: str = row[0]

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def put(self, *, sources: tuple[SourceReport, ...] = (), witnesses: tuple[WitnessReport, ...] = ()) -> int:
        """Keep a batch; returns its sequence. When the spool is full the oldest go, counted as a gap.

        ValueError for a batch that no message can hold.
        """
        left, right = encode_reports(sources), encode_reports(witnesses)
        if len(left) + len(right) > MOST_MESSAGE_BYTES:
            seal(left + right)
        cursor = self._db.execute(
            "INSERT INTO batch (boot, since_boot_s, wall_s, bytes, sources, witnesses) VALUES (?, ?, ?, ?, ?, ?)",
            (self._clock.boot, self._clock.since_boot(), self._clock.wall(), len(left) + len(right), left, right),
        )
        assert cursor.lastrowid is not None
        self._make_room(cursor.lastrowid)
        return cursor.lastrowid

    def sequences(self) -> tuple[int, ...]:
        """What waits for its acknowledgement, in order."""
        return tuple(row[0] for row in self._db.execute("SELECT sequence FROM batch ORDER BY sequence"))

    def message(self, sequence: int) -> bytes | None:
        """A batch as it is published now, its age inside; None when it is gone."""
        row = self._db.execute(
            "SELECT boot, since_boot_s, wall_s, sources, witnesses, (SELECT MIN(sequence) FROM batch) FROM batch"
            " WHERE sequence = ?",
            (sequence,),
        ).fetchone()
        if row is None:
            return None
        boot, since_boot, wall, sources, witnesses, oldest = row
        same_boot = boot == self._clock.boot
        age = self._clock.since_boot() - since_boot if same_boot else self._clock.wall() - wall
        left, right = msgspec.Raw(sources), msgspec.Raw(witnesses)
        return seal(
            encode_spooled(self.id, sequence, age_s=max(age, 0.0), oldest=oldest, sources=left, witnesses=right)
        )

    def acknowledge(self, ack: Ack) -> int:
        """Delete what the coordinator's store holds; returns how many. An ack for another spool changes nothing."""
        if ack.spool != self.id:
            return 0
        return self._db.execute("DELETE FROM batch WHERE sequence <= ?", (ack.sequence,)).rowcount

    @property
    def gap(self) -> int:
        """How many batches were dropped because the spool was full, since it was made."""
        return int(self._db.execute("SELECT gap FROM spool").fetchone()[0])

    def __len__(self) -> int:
        """How many batches wait."""
        return int(self._db.execute("SELECT COUNT(*) FROM batch").fetchone()[0])

    def taken(self, channel: DownChannel) -> int:
        """The highest sequence of a signed message that was taken by the channel; 0 when none was."""
        row = self._db.execute("SELECT sequence FROM taken WHERE channel = ?", (channel.value,)).fetchone()
        return int(row[0]) if row else 0

    def take(self, channel: DownChannel, sequence: int) -> None:
        """Record it, before the message is obeyed."""
        self._db.execute("INSERT OR REPLACE INTO taken VALUES (?, ?)", (channel.value, sequence))

    def _make_room(self, newest: int) -> None:
        held = int(self._db.execute("SELECT SUM(bytes) FROM batch").fetchone()[0])
        if held <= self._most_bytes:
            return
        dropped = 0
        for sequence, size in self._db.execute("SELECT sequence, bytes FROM batch ORDER BY sequence").fetchall():
            if held <= self._most_bytes or sequence == newest:
                break
            self._db.execute("DELETE FROM batch WHERE sequence = ?", (sequence,))
            held -= size
            dropped += 1
        self._db.execute("UPDATE spool SET gap = gap + ?", (dropped,))


def boot_id() -> str:
    """Changes with each boot; "" where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
