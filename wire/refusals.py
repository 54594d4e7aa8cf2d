"""What was refused since a start: how often, and the newest causes in words, for the log of one side and the eyes of people."""

from __future__ import annotations

from collections import deque

SHOWN = 8


class Refusals:
    """Counts all; of causes alike one is kept."""

    def __init__(self) -> None:
        self.count = 0
        self._newest: deque[str] = deque(maxlen=SHOWN)

    def add(self, why: str) -> bool:
        """Whether the cause is not among the newest already."""
        self.count += 1
        new = why not in self._newest
        if new:
            self._newest.append(why)
        return new

    @property
    def newest(self) -> tuple[str, ...]:
        """Some causes, the newest last."""
        return tuple(self._newest)
