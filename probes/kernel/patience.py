"""How long to wait for an answer that is not to be captured: from how long the host's others took."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_S, LEAST_S, MOST_S = 0.5, 0.1, 3.0  # a host that has not answered yet, the least, the most


@dataclass(slots=True)
class Patience:
    """How long an answer of one host may take: smoothed time and its variation, seconds (RFC 6298)."""

    smoothed: float = 0.0
    variation: float = 0.0

    def took(self, seconds: float) -> None:
        """An answer took this long."""
        if not self.smoothed:
            self.smoothed, self.variation = seconds, seconds / 2
            return
        self.variation += (abs(seconds - self.smoothed) - self.variation) / 4
        self.smoothed += (seconds - self.smoothed) / 8

    def limit(self, copy: int) -> float:
        """How long to wait; with each copy twice as long."""
        first = max(LEAST_S, self.smoothed + 4 * self.variation) if self.smoothed else FIRST_S
        return min(MOST_S, first * (1 << copy))
