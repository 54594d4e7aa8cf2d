"""Answers to what came down: for rounds that run now, so they are tried for a while and then dropped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from agent.journal import Log
from agent.outbox import Publisher
from wire.messages import Done, Up
from wire.mqtt import NotConnected

MOST_ANSWERS = 1000
TRY_S = 30.0  # then the coordinator goes on without


class Answers:
    """Sends them one after the other. `run` is the one task."""

    def __init__(self, link: Publisher, topic: str, pack: Callable[[Up], bytes], log: Log) -> None:
        """`pack` makes the payload, signed."""
        self._link, self._topic, self._pack, self._log = link, topic, pack, log
        self._waiting: asyncio.Queue[Up] = asyncio.Queue(MOST_ANSWERS)

    def put(self, answer: Up) -> None:
        """Send it soon. The end of a round is logged: at that moment its report is spooled, too."""
        if isinstance(answer, Done):
            self._log.info("round", round=answer.round, ok=answer.ok, problems=answer.problems[:5])
        if self._waiting.full():  # the coordinator has long given up on the oldest
            self._waiting.get_nowait()
        self._waiting.put_nowait(answer)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            payload = self._pack(await self._waiting.get())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TRY_S):
                    while True:
                        await self._link.wait_connected()
                        try:
                            await self._link.publish(self._topic, payload)
                            break
                        except NotConnected:
                            await asyncio.sleep(0.1)
