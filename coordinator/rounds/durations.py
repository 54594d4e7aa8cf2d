"""How long rounds took."""

from __future__ import annotations

from collections import Counter

BUCKETS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class Durations:
    """How long rounds took, as a histogram by probing agent."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, float]] = Counter()
        self.sums: dict[str, float] = {}
        self.totals: Counter[str] = Counter()

    def observe(self, agent: str, seconds: float) -> None:
        """Take a round."""
        self.sums[agent] = self.sums.get(agent, 0.0) + seconds
        self.totals[agent] += 1
        for bound in BUCKETS_S:
            if seconds <= bound:
                self.counts[agent, bound] += 1
