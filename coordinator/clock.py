"""The coordinator's clock: the wall clock, which may jump, watched by one that cannot.

Times that are held are the wall clock's, so that people, waivers and blackouts mean the same by them. When that is set,
what is held moves along: ages stay what they were, and what was observed before stays before what is observed after.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

STEP_S = 1.0  # slewing is no step: it moves both clocks

log = structlog.get_logger("clock")


def since_boot() -> float:
    """Seconds that never jump, and go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WatchedClock:
    """Called, it gives epoch seconds. `stepped` are told first by how much it was set, forward being positive."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = since_boot) -> None:
        self._wall, self._steady = wall, steady
        self._apart = wall() - steady()
        self.stepped: list[Callable[[float], None]] = []

    def __call__(self) -> float:
        """Epoch seconds."""
        wall = self._wall()
        step = wall - self._steady() - self._apart
        if abs(step) > STEP_S:
            self._apart += step
            log.warning("the clock was set", seconds=round(step, 1))
            for tell in self.stepped:
                tell(step)
        return wall
