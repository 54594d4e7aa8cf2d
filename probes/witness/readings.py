"""Readings of the host's counters while groups are awaited: in a thread, so that they come however long captured packets take."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from probes.clock import ahead
from probes.host.deliveries import Deliveries
from probes.witness.noports import Groups, Reading

EVERY_S = 0.02
Stop = Callable[[], None]


def repeat(work: Callable[[], object]) -> Stop:
    """Do it every 20 ms in a thread of its own, until what this returns is called."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(EVERY_S):
            work()

    threading.Thread(target=run, name="readings", daemon=True).start()
    return over.set


class Readings:
    """Takes them in order, and gives them to the groups that are awaited.

    When a copy came is the kernel's word, whenever it is handed over: so are the readings around it right, however late both
    are looked at. What has to be is that `hand_out` is called before a copy is looked at.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fresh: deque[Reading] = deque()
        self._awaited: tuple[Groups, ...] = ()
        self._stop: Stop | None = None

    def take(self, now: Callable[[], float], counters: Callable[[], Mapping[int, Deliveries]]) -> Reading:
        """Read the counters, after all readings before. Safe in any thread."""
        with self._lock:
            began, read = now(), counters()
            reading = Reading(began, now(), read, ahead())
            self._fresh.append(reading)
        return reading

    def hand_out(self) -> None:
        """Give the groups what was read since the last time."""
        while self._fresh:
            reading = self._fresh.popleft()
            for groups in self._awaited:
                groups.read(reading)

    def end(self, groups: Groups, now: Callable[[], float], counters: Callable[[], Mapping[int, Deliveries]]) -> None:
        """A last reading for groups; the capture has to hand over what came before it, before they are asked for rows."""
        self.take(now, counters)
        self.hand_out()
        groups.end()

    def await_(self, rounds: Iterable[Groups], begin: Callable[[], Stop]) -> None:
        """Which are awaited from now on. `begin` has the counters read again and again, as long as there are any."""
        self.hand_out()
        self._awaited = tuple(groups for groups in rounds if groups)
        if self._awaited and self._stop is None:
            self._stop = begin()
        elif not self._awaited and self._stop is not None:
            self._stop()
            self._stop = None
