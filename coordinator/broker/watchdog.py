"""Whether the coordinator's own broker serves: one whose disk was full may run on and hang up on everybody, for good."""

from __future__ import annotations

from collections.abc import Callable

from wire.mqtt import Link

STEADY_S = 15.0  # a connection that lasts this long counts
PATIENCE_S, MOST_PATIENCE_S = 30.0, 600.0


class Watchdog:
    """Calls `restart` when no connection of the coordinator to its broker has lasted for a while; less often each time.

    `look` is to be called every few seconds; `clock` is monotonic.
    """

    def __init__(self, link: Link, restart: Callable[[], None], clock: Callable[[], float]) -> None:
        self._link, self._restart, self._clock = link, restart, clock
        self._connections, self._since = 0, clock()  # of the connection that there is
        self._bad_since: float | None = None
        self._patience_s = PATIENCE_S

    def look(self) -> None:
        """Whether it is time."""
        now = self._clock()
        if not self._link.connected or self._link.connections != self._connections:
            self._connections, self._since = self._link.connections, now
            self._bad_since = now if self._bad_since is None else self._bad_since
        elif now - self._since >= STEADY_S:
            self._bad_since, self._patience_s = None, PATIENCE_S
        if self._bad_since is not None and now - self._bad_since >= self._patience_s:
            self._bad_since, self._patience_s = now, min(2 * self._patience_s, MOST_PATIENCE_S)
            self._restart()
