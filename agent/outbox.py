"""Sends what the spool holds, again and again until the coordinator has acknowledged it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Protocol

from agent.spool import Spool
from wire.messages import Ack
from wire.mqtt import NotConnected

FIRST_RESEND_S, MOST_RESEND_S = 5.0, 60.0
LOOK_S = 300.0  # at the latest


class Publisher(Protocol):
    """What the outbox needs of a `wire.mqtt.Link`."""

    async def wait_connected(self, after: int = 0) -> int:
        """Wait for a connection."""

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish, or raise NotConnected."""


class Outbox:
    """Spooled batches on their way. `changed` after a batch was put, `reconnected` after the link came back."""

    def __init__(
        self,
        link: Publisher,
        spool: Spool,
        topic: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._link, self._spool, self._topic = link, spool, topic
        self._clock, self._jitter = clock, jitter
        self._tries: dict[int, int] = {}
        self._due: dict[int, float] = {}
        self._wake = asyncio.Event()

    def changed(self) -> None:
        """There is something new to send."""
        self._wake.set()

    def reconnected(self) -> None:
        """Everything that waits is sent again: nobody knows what became of it."""
        self._tries.clear()
        self._due.clear()
        self._wake.set()

    def acknowledged(self, ack: Ack) -> int:
        """Forget what the coordinator's store holds; returns how many batches."""
        count = self._spool.acknowledge(ack)
        for sequence in [each for each in self._due if each <= ack.sequence]:
            del self._due[sequence]
            self._tries.pop(sequence, None)
        return count

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._link.wait_connected()
            self._wake.clear()
            pause = await self.send_due()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def send_due(self) -> float:
        """Send what is due now; returns how many seconds until the next is."""
        next_due = self._clock() + LOOK_S
        for sequence in self._spool.sequences():
            if self._due.get(sequence, 0.0) <= self._clock():
                message = self._spool.message(sequence)
                if message is None:  # acknowledged meanwhile
                    continue
                try:
                    await self._link.publish(self._topic, message)
                except NotConnected:
                    return 0.2
                tries = self._tries[sequence] = self._tries.get(sequence, 0) + 1
                wait = min(FIRST_RESEND_S * 2 ** (tries - 1), MOST_RESEND_S)
                self._due[sequence] = self._clock() + wait * (0.75 + 0.5 * self._jitter())
            next_due = min(next_due, self._due[sequence])
        return max(next_due - self._clock(), 0.05)
