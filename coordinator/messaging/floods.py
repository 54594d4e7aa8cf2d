"""How much an agent may send, and who sends more.

What a well-behaved agent sends is far below: reports of a sweep are ranges, a few kilobytes a second; after a day without a
coordinator it sends its spool, 64 MiB at most, a hundred batches a second (`agent.outbox`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MESSAGES_PER_S, MESSAGES_AT_ONCE = 200.0, 1000.0
BYTES_PER_S, BYTES_AT_ONCE = 8.0 * 2**20, 128.0 * 2**20
CUT_S, MOST_CUT_S = 60.0, 3600.0  # twice as long each time
BEHAVED_S = 3600.0  # after which an agent that was let in again counts as one that never was cut


@dataclass(slots=True)
class _Budget:
    """What is left of messages and bytes, and when that was."""

    at: float
    messages: float = MESSAGES_AT_ONCE
    size: float = BYTES_AT_ONCE

    def take(self, size: int, now: float) -> bool:
        """Whether a message is still within it."""
        passed = max(0.0, now - self.at)
        self.at = now
        self.messages = min(MESSAGES_AT_ONCE, self.messages + passed * MESSAGES_PER_S) - 1
        self.size = min(BYTES_AT_ONCE, self.size + passed * BYTES_PER_S) - size
        return self.messages >= 0 and self.size >= 0


@dataclass(slots=True)
class Floods:
    """Agents that are cut off, until when (by `now`, monotonic seconds), and how many of their messages were dropped.

    Nothing of it is lost: a batch that was not acknowledged is sent again.
    """

    now: Callable[[], float]
    cut: Callable[[str, float], None] = lambda *_: None  # told of an agent that was just cut, and for how many seconds
    until: dict[str, float] = field(default_factory=dict)
    cuts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    _budgets: dict[str, _Budget] = field(default_factory=dict)
    _newest: dict[str, tuple[float, float]] = field(default_factory=dict)  # agent -> end and length of its newest cut

    def passes(self, agent: str, size: int) -> bool:
        """Whether a message of this many bytes is to be read."""
        now = self.now()
        if agent not in self.until:
            budget = self._budgets.setdefault(agent, _Budget(now))
            if budget.take(size, now):
                return True
            self.keep_out(agent)
        self.dropped[agent] += 1
        return False

    def keep_out(self, agent: str) -> None:
        """Cut an agent off: the first time for a minute, and longer each time until it has behaved for an hour."""
        now = self.now()
        ended, length = self._newest.get(agent, (float("-inf"), 0.0))
        length = CUT_S if now - ended >= BEHAVED_S else min(2 * length, MOST_CUT_S)
        self.until[agent] = now + length
        self._newest[agent] = self.until[agent], length
        self.cuts[agent] += 1
        self.cut(agent, length)

    def let_in(self) -> list[str]:
        """Agents whose time is over: they begin with a new budget."""
        now = self.now()
        over = [agent for agent, until in self.until.items() if until <= now]
        for agent in over:
            del self.until[agent]
            self._budgets.pop(agent, None)
        return over

    def body(self) -> list[dict[str, Any]]:
        """Those that ever were cut, for the API's status."""
        now = self.now()
        return [
            {
                "agent": agent,
                "cuts": count,
                "dropped": self.dropped[agent],
                "out_for_s": round(self.until[agent] - now, 1) if agent in self.until else None,
            }
            for agent, count in self.cuts.items()
        ]
