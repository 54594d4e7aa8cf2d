"""Whether all probing is at rest, and who said so: a person, whose stop lasts across restarts, or a blackout of the topology."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

from coordinator.state.estate import Estate
from coordinator.state.roster import AgentState
from coordinator.store import StoreError
from reachability.blackout import active_blackout, in_words
from reachability.life import EventKind
from wire.messages import Stop

AHEAD_S = 0.2  # that the orders have of the disk: a broker that never says that it has them does not hold it up

log = structlog.get_logger("brake")


class Confirmed(StrEnum):
    """Whether an agent has ended all probing since the stop, by its own word."""

    YES = "confirmed"
    NOT_YET = "not yet"
    UNABLE = "unable"  # its version does not say


@dataclass(frozen=True, slots=True)
class Halt:
    """A stop by a person."""

    reason: str
    by: str
    at: float  # epoch seconds
    after: int = 2**53  # the sequence that was used last before it; none is higher where a record does not say


class Brake:
    """`stopped` is why nothing at all may be probed now, "" when something may.

    `in_blackout` is the verify run that a person has probe in blackouts too, "" where there is none.
    """

    def __init__(
        self,
        estate: Estate,
        post: Callable[[str, Stop], Coroutine[Any, Any, None]],
        others: Callable[[str], Collection[str]] = lambda _: (),
    ) -> None:
        """`others` gives the agents that send in rounds which are not of a run."""
        self._estate, self._post, self._others = estate, post, others
        self.halt: Halt | None = estate.store.get("halt", Halt | None, None)  # type: ignore[arg-type]
        self._kept = self.halt  # what a restart knows
        self.newest: Callable[[], int] = lambda: 0  # the sequence that was used last
        self.in_blackout = ""
        self._interrupted = ""
        self._quiet = ""  # the blackout that was open when it was looked last, in words

    @property
    def stopped(self) -> str:
        """Looked at anew each time: a window may open while nobody does anything."""
        return self.holds(self.in_blackout)

    def holds(self, run: str) -> str:
        """Why nothing of a verify run, or of all that is of none (""), may be probed now; "" when it may."""
        if self.halt:
            return self.halt.reason
        return self._interrupted or ("" if run and run == self.in_blackout else self.blackout())

    def blackout(self) -> str:
        """The window of the topology that is open now, in words; "" when none is."""
        open_now = active_blackout(self._estate.topology.probing.blackout, self._estate.now())
        return in_words(open_now) if open_now else ""

    async def look(self) -> None:
        """End what is under way when a window has opened since the last time; repeat a stop, which a broker may have lost."""
        before, self._quiet = self._quiet, self.blackout()
        began = self._quiet and not before
        if began:
            log.info("a blackout has begun", window=self._quiet)
        if began and not self.stopped:  # the run that may goes on, and nothing else
            for agent in self._others(self.in_blackout):
                await self._post(agent, Stop(reason=self._quiet))
        elif began or self.halt:
            await self.remind()

    async def stop(self, reason: str, by: str) -> None:
        """Until `resume`, whatever happens meanwhile; StoreError when it is stopped and a restart would not know."""
        after = self.halt.after if self.halt else self.newest()  # who has confirmed need not do so again
        self.halt = halt = Halt(reason or "stopped", by, self._estate.clock(), after)
        log.warning("all probing is stopped", reason=halt.reason, by=by)
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self.interrupt(halt.reason), name="stop")
            await asyncio.wait({telling}, timeout=AHEAD_S)
            problem = await self._keep()
            await self._estate.noted(EventKind.STOPPED, halt.reason, by)
        if problem:
            raise StoreError(f"all probing is stopped, but a restart would begin it again: {problem}") from problem

    async def _keep(self) -> StoreError | None:
        try:
            await self._estate.store.beside(self._put)
        except StoreError as error:
            return error
        return None

    def _put(self) -> None:
        halt = self.halt  # as it is now: it may have been lifted since
        self._estate.store.put("halt", halt)
        self._kept = halt

    def end(self) -> None:
        """Write what was cut off while it waited for the disk; nobody writes any more."""
        if self.halt != self._kept:
            self._estate.save(self._put)

    def confirmed(self, agent: AgentState) -> str:
        """Whether an agent has confirmed the stop of a person: a `Confirmed`, "" while there is no such stop."""
        if self.halt is None:
            return ""
        if agent.stopped < 0 and agent.last_seen:
            return Confirmed.UNABLE
        # Of two processes under one name one may have stopped, and the other not.
        said = agent.stopped > self.halt.after and not agent.two_holders
        return Confirmed.YES if said else Confirmed.NOT_YET

    async def resume(self, by: str) -> None:
        """Probe again; StoreError when that cannot be written, and it stays stopped, as by a stop that comes meanwhile."""
        halt, store = self.halt, self._estate.store
        if halt is not None:
            await store.beside(lambda: store.put("halt", None))
            if self.halt is not halt:
                return
            self.halt = None
            log.warning("probing is resumed", by=by)
            await self._estate.noted(EventKind.RESUMED, "", by)
        self._interrupted = ""

    async def interrupt(self, reason: str) -> None:
        """For a moment, until `go_on`."""
        self._interrupted = reason
        await self.remind()

    def go_on(self) -> None:
        """After an interruption; a person's stop stays."""
        self._interrupted = ""

    async def remind(self) -> None:
        """Tell every agent, all at once: one whose broker is slow holds up no other. It may be told often."""
        if self.stopped:
            async with asyncio.TaskGroup() as group:
                for agent, state in self._estate.agents.items():
                    if state.last_seen:  # what repeats no challenge is refused: an agent that comes is told then
                        group.create_task(self._post(agent, Stop(reason=self.stopped)), name=f"stop {agent}")
