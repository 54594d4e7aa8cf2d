"""Whether a stop has done its work here: told to the coordinator when nothing can send any more, not when it came."""

from __future__ import annotations

from collections.abc import Callable

from wire.messages import Arm, Go, Plan, Stop
from wire.signing import SignedOrder


class Standstill:
    """`stopped` is the sequence of the newest stop after which the packet child has ended; 0 for none."""

    def __init__(self, gone: Callable[[], bool], tell: Callable[[], None]) -> None:
        """`gone` says whether there is no packet child, `tell` has the coordinator told soon."""
        self._gone, self._tell = gone, tell
        self.stopped = 0
        self._asked, self._reason = 0, ""
        self._news = True

    def heard(self, order: SignedOrder) -> None:
        """After the order was obeyed."""
        match order.body:
            case Stop(reason=reason):
                self._news |= reason != self._reason
                self._asked, self._reason = order.sequence, reason
                self.look()
            case Plan() | Arm() | Go():
                self._news = True
            case _:
                pass

    def look(self) -> None:
        """The packet child has ended, or a stop has come. A stop that is only repeated is told with the next status."""
        if self._asked > self.stopped and self._gone():
            self.stopped = self._asked
            if self._news:
                self._news = False
                self._tell()
