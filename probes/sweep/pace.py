"""How fast further copies go: slower where speed is what loses packets, and not where it is the network's own loss."""

from __future__ import annotations

from enum import StrEnum

from reachability.loss import lower_bound, upper_bound

LEAST_PPS = 1000
CLEAR = 0.01  # loss that a slower pass is worth trying for


class Change(StrEnum):
    """What became of the rate. Where it fell, the pass before went too fast; restored: none did."""

    NONE = "none"
    FELL = "fell"
    RESTORED = "restored"


class Pace:
    """The rate of the next pass, from what the passes so far lost. `rate_pps` is the most that is ever asked for."""

    def __init__(self, rate_pps: int) -> None:
        self.rate = self._most = max(1, rate_pps)
        self._before: float | None = None  # what was lost before the rate fell
        self._settled = False

    def passed(self, sent: int, lost: int, pps: float) -> Change:
        """A pass at `pps` packets a second lost this many of those that should have been answered."""
        bound = upper_bound(sent, lost)
        if bound is None or self._settled:
            return Change.NONE
        if self._before is not None and bound >= self._before:
            self.rate, self._settled = self._most, True  # slower was no better: the loss is not of our making
            return Change.RESTORED
        if lower_bound(sent, lost) <= CLEAR:
            return Change.NONE
        self._before = lost / sent
        carried = pps * (1 - self._before)
        self.rate = int(max(min(LEAST_PPS, self._most), min(self.rate / 2, pps / 2, carried)))
        return Change.FELL
