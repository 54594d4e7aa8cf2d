"""What names mean to agents: each is asked before its cycle, and all of them before a verify run."""

from __future__ import annotations

import asyncio
import secrets

import structlog

from coordinator.rounds.in_flight import Post
from coordinator.state.estate import Estate
from coordinator.state.lookups import names_of
from wire.messages import MOST_NAMES, Resolve, Resolved

RESOLVE_S = 8.0
MOST_WAITING = 64  # requests that an agent may still answer late

log = structlog.get_logger("rounds")


class Resolving:
    """Asks an agent for names, as many at a time as it takes, and tells the estate what they mean there."""

    def __init__(self, estate: Estate, post: Post) -> None:
        self._estate, self._post = estate, post
        self._asked: dict[str, dict[str, asyncio.Event]] = {}  # agent to its requests that are not answered

    async def ask(self, agent: str) -> None:
        """Returns with its answers, or without some after eight seconds for each part; those count when they come."""
        if not self._estate.online(agent):
            return
        waiting = self._asked.setdefault(agent, {})
        names = names_of(self._estate.topology)
        for first in range(0, len(names), MOST_NAMES):
            if not self._estate.online(agent):  # a reload may have taken it out of the topology, too
                return
            request = Resolve(id=secrets.token_hex(8), names=names[first : first + MOST_NAMES])
            answered = waiting[request.id] = asyncio.Event()
            if len(waiting) > MOST_WAITING:
                del waiting[next(iter(waiting))]
            await self._post(agent, request)
            try:
                async with asyncio.timeout(RESOLVE_S):
                    await answered.wait()
            except TimeoutError:
                log.warning("no answer to a lookup", agent=agent, names=len(request.names))

    async def ask_all(self) -> None:
        """Every agent that is there, at the same time: a name is probed wherever any of them sees it."""
        async with asyncio.TaskGroup() as group:
            for agent in list(self._estate.agents):
                group.create_task(self.ask(agent), name=f"names of {agent}")

    def answer(self, agent: str, message: Resolved) -> None:
        """What an agent says; nothing where it was not asked, or is not in the topology any more."""
        answered = self._asked.get(agent, {}).pop(message.id, None)
        if answered is not None and self._estate.online(agent):
            self._estate.take_lookups(agent, message.lookups)
            answered.set()
