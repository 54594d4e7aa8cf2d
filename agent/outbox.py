"""Sends what the spool holds, again and again until the coordinator has acknowledged it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from agent.journal import Log
from agent.losses import Drop
from agent.spool import Spool
from reachability.arrival import WitnessReport
from reachability.observation import SourceReport
from wire.messages import Ack
from wire.mqtt import NotConnected

FIRST_RESEND_S, MOST_RESEND_S = 5.0, 60.0
LOOK_S = 60.0  # at the latest
# Half of what the coordinator takes for a flood (`coordinator.messaging.floods`).
BATCHES_PER_S, AT_ONCE = 100.0, 256.0
BYTES_PER_S, BYTES_AT_ONCE = 4.0 * 2**20, 64.0 * 2**20


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
        sign: Callable[[bytes], bytes],
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._link, self._spool, self._topic, self._sign = link, spool, topic, sign
        self._clock, self._jitter = clock, jitter
        self._tries: dict[int, int] = {}
        self._due: dict[int, float] = {}
        self._wake = asyncio.Event()
        self._left, self._bytes, self._left_at = AT_ONCE, BYTES_AT_ONCE, clock()  # how much may be sent now

    def put(self, report: SourceReport | WitnessReport, log: Log) -> int:
        """Spool a report; 0 when that is not possible, which counts as lost: it is in a gap that the coordinator shows."""
        try:
            if isinstance(report, SourceReport):
                sequence = self._spool.put(sources=(report,))
            else:
                sequence = self._spool.put(witnesses=(report,))
        except (sqlite3.Error, ValueError) as error:
            if report.kept:  # the packets make it large, and it stands without them
                log.warning("the packets of a report are lost", round=report.round, problem=str(error))
                return self.put(replace(report, kept=()), log)
            self._spool.lose(Drop.DISK if isinstance(error, sqlite3.Error) else Drop.SIZE)
            self.changed()
            log.error("a report is lost", round=report.round, problem=str(error))  # noqa: TRY400 - in words
            return 0
        self.changed()
        return sequence

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
        before = self._spool.id
        count = self._spool.acknowledge(ack)
        if self._spool.id != before:  # what waits goes by another name now
            self.reconnected()
        if ack.spool != self._spool.id:
            return 0
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
        with contextlib.suppress(sqlite3.Error):  # a full disk: later
            self._spool.tidy()
        next_due = self._clock() + LOOK_S
        for sequence in self._spool.sequences():
            if self._due.get(sequence, 0.0) <= self._clock():
                message = self._spool.message(sequence)
                if message is None:  # acknowledged meanwhile
                    continue
                if wait := self._must_wait(len(message)):
                    return wait
                try:
                    await self._link.publish(self._topic, self._sign(message))
                except NotConnected:
                    return 0.2
                tries = self._tries[sequence] = self._tries.get(sequence, 0) + 1
                again = min(FIRST_RESEND_S * 2 ** (tries - 1), MOST_RESEND_S)
                self._due[sequence] = self._clock() + again * (0.75 + 0.5 * self._jitter())
            next_due = min(next_due, self._due[sequence])
        return max(next_due - self._clock(), 0.05)

    def _must_wait(self, size: int) -> float:
        """Ask leave to send one batch of so many bytes; how many seconds until there is any, 0 when it is given."""
        now = self._clock()
        passed = max(0.0, now - self._left_at)
        self._left = min(AT_ONCE, self._left + passed * BATCHES_PER_S)
        self._bytes = min(BYTES_AT_ONCE, self._bytes + passed * BYTES_PER_S)
        self._left_at = now
        wait = max((1 - self._left) / BATCHES_PER_S, (size - self._bytes) / BYTES_PER_S)
        if wait > 0:
            return max(0.05, wait)
        self._left -= 1
        self._bytes -= size
        return 0.0
