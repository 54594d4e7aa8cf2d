"""Answers to what came down: for rounds that run now, so they are tried for a while and then dropped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from agent.outbox import Publisher
from wire.messages import Up
from wire.mqtt import NotConnected

MOST_ANSWERS = 1000
TRY_S = 30.0  # then the coordinator goes on without


class Answers:
    """Sends them one after the other. `run` is the one task."""

    def __init__(self, link: Publisher, topic: str, pack: Callable[[Up], bytes]) -> None:
        """`pack` makes the payload, signed."""
        self._link, self._topic, self._pack = link, topic, pack
        self._waiting: asyncio.Queue[Up] = asyncio.Queue(MOST_ANSWERS)

    def put(self, answer: Up) -> None:
        """Send it soon."""
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
