"""Certificates while the coordinator runs: what agents ask for, what `pki revoke` takes from them, whose end is near."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from coordinator.broker import pki
from wire.certificates import agent_uri, ends_soon
from wire.messages import Renew, Renewed
from wire.topics import UpTopic

LOOK_S = 0.2
DAY_S = 86400.0
APART_S = 60.0  # between two certificates of one agent

log = structlog.get_logger("certificates")


class Renewals:
    """Signs what agents ask for over their own channel: for the name of the topic that it came on, and no other.

    `ask` takes a request, of each agent the newest; `run` answers. `told` hears of each certificate.
    """

    def __init__(
        self,
        directory: Path,
        post: Callable[[str, Renewed], Awaitable[None]],
        *,
        generation_of: Callable[[str], int],
        told: Callable[[str, dt.datetime], None],
        clock: Callable[[], float],
        life: dt.timedelta = pki.AGENT_LIFE,
    ) -> None:
        self._directory, self._post = directory, post
        self._generation_of, self._told, self._clock = generation_of, told, clock
        self._life = life
        self._asked: dict[str, tuple[UpTopic, int, Renew]] = {}
        self._wanted = asyncio.Event()
        self._issued_at: dict[str, float] = {}

    def ask(self, topic: UpTopic, request: Renew) -> None:
        """An agent that is in the topology asks; the topic says which.

        It gets a certificate of the generation in which it asks: one that is revoked before the answer gets none that is good.
        """
        self._asked[topic.agent] = (topic, self._generation_of(topic.agent), request)
        self._wanted.set()

    async def run(self) -> None:
        """Answer for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._asked:
                agent, asked = self._asked.popitem()
                await self._post(agent, await self._answer(*asked))

    async def _answer(self, topic: UpTopic, generation: int, request: Renew) -> Renewed:
        now = self._clock()
        apart = min(APART_S, self._life.total_seconds() / 20)
        if now - self._issued_at.get(topic.agent, float("-inf")) < apart:
            return Renewed(problem=f"it was given a certificate within the last {apart:.0f} s")
        uri = agent_uri(topic.environment, topic.agent, generation)
        moment = dt.datetime.fromtimestamp(now, dt.UTC)
        try:
            issued = await asyncio.to_thread(
                pki.sign_request, self._directory, uri, request.request, moment, self._life
            )
        except (pki.RequestRefused, pki.PkiError, OSError) as error:
            log.warning("no certificate is granted", agent=topic.agent, why=str(error))
            refused = isinstance(error, pki.RequestRefused)
            return Renewed(problem=str(error) if refused else "it cannot sign: its own log says why")
        self._issued_at[topic.agent] = now
        self._told(topic.agent, issued.expires)
        return Renewed(certificate=issued.certificate, trust=issued.trust)


class Revocations:
    """The record of revocations in the PKI directory, looked at five times a second.

    `held` is what is in force, of each agent the highest generation that was ever seen: a record that is lost or older
    lets nobody in again.
    """

    def __init__(
        self, directory: Path, before: Mapping[str, int], take: Callable[[Mapping[str, int]], Awaitable[None]]
    ) -> None:
        """PkiError when the record cannot be read. `before` is what was in force when this coordinator ran last."""
        self.held = _newest(before, pki.revocations(directory))
        self._directory, self._take = directory, take
        self._seen: object = ()

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Take in the record where it has changed."""
        path = self._directory / pki.REVOKED
        try:
            found = path.stat()
            stamp: object = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            stamp = None
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            record = pki.revocations(self._directory)
        except (pki.PkiError, OSError) as error:
            log.error("the record of revocations is refused, the old one stays", problem=str(error))  # noqa: TRY400
            return
        self._complain(record)
        held = _newest(self.held, record)
        if held != self.held:
            self.held = held
            await self._take(held)

    def _complain(self, record: Mapping[str, int]) -> None:
        """Whoever gets a bundle of a generation below the one in force is not let in, and would not know why."""
        for agent, generation in self.held.items():
            if record.get(agent, 0) < generation:
                log.warning(
                    "the record of revocations is older than what is in force",
                    agent=agent,
                    record=str(self._directory / pki.REVOKED),
                    to_do=f"segwatch pki revoke {agent} --dir {self._directory} …, then a new bundle",
                )


class Ends:
    """Says once a day which certificates end soon."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def due(self, certificates: Mapping[str, tuple[float, float]], now: float) -> list[tuple[str, float]]:
        """(holder, end) of those to warn about now. `certificates` are holder to from when until when, epoch seconds."""
        found = [
            (holder, ends)
            for holder, (starts, ends) in certificates.items()
            if ends and ends_soon(starts, ends, now) and now - self._told.get(holder, float("-inf")) >= DAY_S
        ]
        self._told.update(dict.fromkeys((holder for holder, _ in found), now))
        return found


def _newest(known: Mapping[str, int], record: Mapping[str, int]) -> dict[str, int]:
    return {agent: max(known.get(agent, 0), record.get(agent, 0)) for agent in {**known, **record}}
