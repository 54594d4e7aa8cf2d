"""An event loop on virtual time: when everybody waits, the next timer is due at once, however far away it is.

For what has no partner outside the loop: a socket or a thread would be given no time to answer.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

START = 1000.0
TICK_S = 1e-6  # each turn of the loop takes so long: no clock stands still
T = TypeVar("T")


class _Jumps(selectors.DefaultSelector):
    """Does not wait for the next timer, but sets the clock to when it is due."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if timeout is None and not ready:
            raise RuntimeError("everybody waits for ever: no timer is set, and nothing else will come")
        self.now += TICK_S if ready else max(TICK_S, timeout or 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at `START`. What it is to run in a thread it runs at once."""

    def __init__(self) -> None:
        self._jumps = _Jumps()
        super().__init__(self._jumps)

    def time(self) -> float:
        return self._jumps.now

    def block(self, seconds: float) -> None:
        """Called within it: something takes this long and lets nothing else run."""
        self._jumps.now += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        done: asyncio.Future[T] = self.create_future()
        done.set_result(func(*args))
        return done


def run(scene: Coroutine[Any, Any, T], within_s: float = 3600.0) -> T:
    """Play a scene; TimeoutError when it takes longer than so many seconds of its own time."""

    async def bounded() -> T:
        async with asyncio.timeout(within_s):
            return await scene

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(bounded())


def now() -> float:
    """Seconds since the scene began."""
    return asyncio.get_running_loop().time() - START
