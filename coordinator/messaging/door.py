"""Keeps agents that flood out of the broker for a while, and lets them in again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

import structlog

from coordinator.messaging.floods import Floods
from coordinator.state.estate import Estate
from reachability.life import EventKind
from reachability.topology import Topology

LOOK_S = 5.0

log = structlog.get_logger("coordinator")


class Door:
    """`floods` counts what each agent sends; the broker hangs up on one that it cuts."""

    def __init__(self, estate: Estate, reload: Callable[[Topology, Collection[str]], Awaitable[None]]) -> None:
        """`reload` gives the broker a topology's agents, but for some."""
        self.floods = Floods(time.monotonic, self._cut)
        self._estate, self._reload = estate, reload
        self._wanted = asyncio.Event()

    async def let_in(self) -> None:
        """Give the broker the agents that may come in now."""
        await self._reload(self._estate.topology, self.floods.until)

    async def run(self) -> None:
        """Cut agents off, and let them in again when their time is over."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wanted.wait()
            for agent in (again := self.floods.let_in()):
                text = f"{agent} is let in again; {self.floods.dropped[agent]} of its messages were dropped so far"
                log.warning("flood", agent=agent, text=text)
                self._estate.note(EventKind.LET_IN, text)
            if again or self._wanted.is_set():
                self._wanted.clear()
                await self.let_in()

    def _cut(self, agent: str, seconds: float) -> None:
        text = f"{agent} sends more than an agent may: it is cut off for {seconds:.0f} s"
        log.error("flood", agent=agent, text=text)
        self._estate.note(EventKind.CUT, text)
        if state := self._estate.agents.get(agent):
            self._estate.agents[agent] = replace(state, online=False)  # its last will is not read either
        self._wanted.set()
