"""How old history is, by a clock of its own: seconds that the machine ran, whatever the wall clock is set to.

It never jumps and never goes back. What passes while no coordinator runs counts as long as the machine stays on. What passes
while it is off, or until a store is used on another machine, nobody can tell from a clock that may have been set: it does not
count, and what is held is kept longer. Nothing is added meanwhile, so that no store becomes larger by it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from coordinator.clock import since_boot

_NAME = "history"  # in the table meta: age, and the steady clock and boot by which it was that


class Ageing:
    """Called, it gives the age of history at this moment, seconds since it began."""

    def __init__(
        self, db: sqlite3.Connection, steady: Callable[[], float] = since_boot, boot: str | None = None
    ) -> None:
        self._db, self._steady, self._one_at_a_time = db, steady, threading.Lock()
        self._boot = boot_id() if boot is None else boot
        row = db.execute("SELECT value FROM meta WHERE name = ?", (_NAME,)).fetchone()
        age, at, of = msgspec.msgpack.decode(row[0], type=tuple[float, float, str]) if row else (0.0, 0.0, "")
        self._at = steady()
        self._age = age + (max(0.0, self._at - at) if of == self._boot != "" else 0.0)

    def __call__(self) -> float:
        """Seconds of history."""
        with self._one_at_a_time:
            now = self._steady()
            self._age += max(0.0, now - self._at)
            self._at = now
            return self._age

    def keep(self) -> None:
        """Write it down, within the caller's transaction."""
        value = msgspec.msgpack.encode((self(), self._at, self._boot))
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_NAME, value))


def boot_id() -> str:
    """Changes with each boot; "" where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
