"""What names mean where they are probed from: agents are asked before a cycle."""

from __future__ import annotations

import asyncio
import secrets

import structlog

from coordinator.rounds.in_flight import Post
from coordinator.state.estate import Estate
from wire.messages import Resolve, Resolved

RESOLVE_S = 8.0

log = structlog.get_logger("rounds")


class Resolving:
    """Asks an agent for the names that it probes, and tells the estate what they mean there."""

    def __init__(self, estate: Estate, post: Post) -> None:
        self._estate, self._post = estate, post
        self._asked: dict[tuple[str, str], asyncio.Future[Resolved]] = {}

    async def ask(self, agent: str) -> None:
        """Returns with its answer, or without one after eight seconds."""
        if not self._estate.online(agent) or not (names := self._estate.names_for(agent)):
            return
        request = Resolve(id=secrets.token_hex(8), names=names)
        answer: asyncio.Future[Resolved] = asyncio.get_running_loop().create_future()
        self._asked[agent, request.id] = answer
        try:
            await self._post(agent, request)
            async with asyncio.timeout(RESOLVE_S):
                self._estate.take_lookups(agent, (await answer).lookups)
        except TimeoutError:
            log.warning("no answer to a lookup", agent=agent, names=len(names))
        finally:
            del self._asked[agent, request.id]

    def answer(self, agent: str, message: Resolved) -> None:
        """What an agent says; nothing where it was not asked."""
        waiting = self._asked.get((agent, message.id))
        if waiting is not None and not waiting.done():
            waiting.set_result(message)
