"""How long this agent may send on without a word from its coordinator: a broker that withholds a stop withholds this too.

`Plan`, `Arm` and `Go` bring it. They are signed and new (`agent.challenges`), so that nobody else can make one and none
counts twice.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from wire.messages import Arm, Go, Plan
from wire.signing import AnyDown

LOOK_S = 5.0  # a host that was suspended finds out so soon


def boot_time() -> float:
    """Seconds that go on while the host is suspended, and never jump."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """From the first one on; a coordinator that gives none is older, and is obeyed as before.

    `changed` is called at its end, and when it goes on.
    """

    def __init__(self, clock: Callable[[], float] = boot_time) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._until, self._for_s, self._was = math.inf, 0.0, ""
        self.changed: Callable[[], None] = lambda: None

    def heard(self, order: AnyDown) -> None:
        """The newest order that brings a lease counts, be it shorter."""
        if isinstance(order, Plan | Arm | Go):
            self._for_s = order.lease_s
            self._until = self._clock() + max(order.lease_s, 0.0) if order.lease_s else math.inf
            self._look()

    def left(self) -> float:
        """Seconds; infinity without one."""
        return max(0.0, self._until - self._clock())

    @property
    def why(self) -> str:
        """Why nothing may be sent now, in words; "" while the lease lasts."""
        if self.left():
            return ""
        if self._for_s < 0:
            return "the coordinator has stopped all probing"
        return f"no order of the coordinator's has let it send for {self._for_s:.0f} s: the next one does"

    async def run(self) -> None:
        """See to it that its end is noticed; for ever."""
        while True:
            self._look()
            await asyncio.sleep(min(self.left() or LOOK_S, LOOK_S))

    def _look(self) -> None:
        was, self._was = self._was, self.why
        if bool(was) != bool(self._was):
            self.changed()
