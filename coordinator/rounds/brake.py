"""Whether all probing is at rest, and who said so. What a person stopped stays stopped across restarts, until it is resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from coordinator.state.estate import Estate
from coordinator.store import StoreError
from reachability.life import EventKind
from wire.messages import Stop

log = structlog.get_logger("brake")


@dataclass(frozen=True, slots=True)
class Halt:
    """A stop by a person."""

    reason: str
    by: str
    at: float  # epoch seconds


class Brake:
    """`stopped` is why nothing may be probed now, "" when it may."""

    def __init__(self, estate: Estate, post: Callable[[str, Stop], Coroutine[Any, Any, None]]) -> None:
        self._estate, self._post = estate, post
        self.halt: Halt | None = estate.store.get("halt", Halt | None, None)  # type: ignore[arg-type]
        self.stopped = self.halt.reason if self.halt else ""

    async def stop(self, reason: str, by: str) -> None:
        """Until `resume`, whatever happens meanwhile; StoreError when it is stopped and a restart would not know."""
        self.halt = Halt(reason or "stopped", by, self._estate.clock())
        log.warning("all probing is stopped", reason=self.halt.reason, by=by)
        await self.interrupt(self.halt.reason)
        self._estate.note(EventKind.STOPPED, self.halt.reason, by)
        try:
            self._estate.store.put("halt", self.halt)
        except StoreError as error:
            raise StoreError(f"all probing is stopped, but a restart would begin it again: {error}") from error

    def resume(self, by: str) -> None:
        """Probe again; StoreError when that cannot be written, and it stays stopped."""
        if self.halt is not None:
            self._estate.store.put("halt", None)
            self.halt = None
            log.warning("probing is resumed", by=by)
            self._estate.note(EventKind.RESUMED, "", by)
        self.stopped = ""

    async def interrupt(self, reason: str) -> None:
        """For a moment, until `go_on`."""
        self.stopped = reason
        await self.remind()

    def go_on(self) -> None:
        """After an interruption; a person's stop stays."""
        self.stopped = self.halt.reason if self.halt else ""

    async def remind(self) -> None:
        """Tell every agent, all at once: one whose broker is slow holds up no other. It may be told often."""
        if self.stopped:
            async with asyncio.TaskGroup() as group:
                for agent, state in self._estate.agents.items():
                    if state.last_seen:  # what repeats no challenge is refused: an agent that comes is told then
                        group.create_task(self._post(agent, Stop(reason=self.stopped)), name=f"stop {agent}")
