"""Signed messages down to agents: one sequence over all of them, never used twice, even across restarts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from nacl.signing import SigningKey

from coordinator.messaging.lease import leased
from coordinator.store import Store, StoreError
from wire.messages import Ack, Down, Stop
from wire.mqtt import Link, NotConnected
from wire.signing import channel_of, next_sequence, pack_down
from wire.topics import DownChannel, down

RESERVE = 60_000  # sequences that are kept in the store ahead of use: of a minute, as they follow the clock
RESERVE_EVERY_S = 20.0

log = structlog.get_logger("post")


class Sender:
    """Sends to agents by name. A broker that is away loses a message; the deadlines of rounds say so."""

    def __init__(
        self,
        link: Link,
        key: SigningKey,
        store: Store,
        environment_of: Callable[[str], str | None],
        challenge_of: Callable[[str], bytes],
        clock: Callable[[], float],
    ) -> None:
        self._link = link
        self._key = key
        self._store = store
        self._environment_of = environment_of
        self._challenge_of = challenge_of
        self._clock = clock
        self._reserved = self._last = store.get("sequence", int, 0)
        self._locks: dict[tuple[str, DownChannel], asyncio.Lock] = {}

    async def __call__(self, agent: str, body: Down | Ack) -> None:
        """Sign, publish and wait for the broker. What lets packets be sent does so for a while: see `lease`."""
        environment = self._environment_of(agent)
        if environment is None:  # it left the topology meanwhile
            return
        channel = channel_of(body)
        # An agent refuses a sequence below the last that it took: what is sent at the same time keeps its order.
        async with self._locks.setdefault((agent, channel), asyncio.Lock()):
            try:
                echo = self._challenge_of(agent)
                payload = pack_down(self._key, agent, self._next(body), leased(body), self._clock(), echo=echo)
                await self._link.publish(down(environment, agent, channel), payload)
            except (NotConnected, StoreError) as error:
                log.warning("not sent", agent=agent, message=type(body).__name__.lower(), problem=str(error))
            except ValueError as error:
                log.error("cannot be sent", agent=agent, problem=str(error))  # noqa: TRY400 - it is not our bug

    async def run(self) -> None:
        """Keep sequences reserved, so that nothing that is sent waits for the disk."""
        while True:
            await asyncio.sleep(RESERVE_EVERY_S)
            await self.reserve()

    async def reserve(self) -> None:
        """Those of the next minute."""
        upto = next_sequence(self._last, self._clock()) + RESERVE
        with contextlib.suppress(StoreError):  # what is sent then says so
            # While it waits for its turn, what is sent may have reserved more.
            await self._store.beside(lambda: self._store.put("sequence", max(self._reserved, upto)))
            self._reserved = max(self._reserved, upto)

    @property
    def newest(self) -> int:
        """The sequence that was used last: what is sent from now on has a higher one."""
        return self._last

    def _next(self, body: Down | Ack) -> int:
        self._last = next_sequence(self._last, self._clock())
        if self._last >= self._reserved:
            try:
                if self._store.writer.busy:  # for so long that `run` could not: nobody waits for it here
                    raise StoreError("the store takes too long to be written")
                self._store.put("sequence", self._last + RESERVE)
                self._reserved = self._last + RESERVE
            except StoreError:
                if not isinstance(
                    body, Stop
                ):  # which must get through: the sequence follows the clock across restarts, too
                    raise
        return self._last
