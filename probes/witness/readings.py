"""The counters for the groups that are awaited, read in a thread of their own.

The loop may stand still for longer than a slot, while it reads what has come in or makes what is to be sent. When a packet
came is the kernel's word, so that only the readings have to keep time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from probes.witness.noports import Groups, Reading

EVERY_S = 0.02


class Readings:
    """Reads for all groups together; each gets its readings in the order of time."""

    def __init__(self, take: Callable[[], Reading]) -> None:
        self._take = take
        self._groups: tuple[Groups, ...] = ()
        self._lock = threading.Lock()
        self._awaited = threading.Event()

    def watch(self, groups: Iterable[Groups]) -> None:
        """For these, from now on."""
        self._groups = tuple(groups)
        (self._awaited.set if self._groups else self._awaited.clear)()

    def read(self) -> None:
        """Read once."""
        with self._lock:
            groups = self._groups  # one that comes while this is read has a newer reading already
            reading = self._take()
            for each in groups:
                each.read(reading)

    def start(self) -> None:
        """Read whenever something is awaited, for as long as the process lives."""
        threading.Thread(target=self._run, name="counters", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._awaited.wait()
            self.read()
            time.sleep(EVERY_S)
