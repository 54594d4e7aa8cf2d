"""What a broker can do, tried at start: nothing that segwatch needs is taken on the broker's word.

Two talk: the coordinator, and an agent of the topology in whose name it has a certificate for a quarter of an hour. What
goes down in the check is a signed acknowledgement of a spool that nobody has, what comes up an answer to a question that
nobody asked: agents that are connected meanwhile take no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import secrets
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from coordinator.broker import pki
from coordinator.broker.embedded import BrokerError
from reachability.topology import Topology
from wire.dial import Broker
from wire.envelope import MOST_MESSAGE_BYTES, pack_up
from wire.keyfiles import write_private
from wire.messages import Ack, Resolved
from wire.mqtt import LET_IN, Link, NotConnected
from wire.topics import ROOT, DownChannel, UpChannel, all_up, down, up

ANSWER_S = 15.0  # for what must come
LARGE_S = 60.0
TRIES = 2
EXTRA_S = 1.0  # for what is a convenience
GRACE_S = 0.5  # in which what must not come would have come, after what must
LIFE = dt.timedelta(minutes=15)
SMALLEST = 64 * 1024
SHOWN = 1024  # bytes of a message that are looked at
REMEDY = "Its configuration is written by: segwatch pki broker"

Post = Callable[[str, Ack], Awaitable[None]]


class _Agent(NamedTuple):
    environment: str
    name: str


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that the broker does not do and segwatch can do without; `text` is for people."""

    name: str
    text: str


class BrokerCheck:
    """One check. `run` returns what is missing; BrokerError says what segwatch cannot do without, and what to do."""

    def __init__(self, broker: Broker, topology: Topology, pki_dir: Path, post: Post) -> None:
        """`post` signs and sends what goes down to an agent."""
        self._broker = broker
        self._agents = [_Agent(environment, agent) for agent, environment in topology.agents().items()]
        self._pki = pki_dir
        self._post = post
        self._token = secrets.token_hex(8)
        self._lacks: list[Lack] = []
        self.sent_up: frozenset[bytes] = frozenset()  # in agents' names: nobody need be told of it

    async def run(self) -> tuple[Lack, ...]:
        """Wait for the broker, then try it."""
        own = self._topic("own")
        # The coordinator's real subscriptions are among them: a refused one is said here.
        async with _talking(self._broker, own, *all_up()) as middle:
            await self._let_in(middle)
            await self._loopback(middle, own)
            await self._largest(middle, own)
            await self._retained(middle)
            if self._agents:
                await self._as_agent(middle)
        return tuple(self._lacks)

    # -- the coordinator alone ------------------------------------------------------------------------------------

    async def _let_in(self, middle: _Talk) -> None:
        """Wait for it, however long: what cannot be reached now may come. One that is there and says no will not.

        Unless it holds no longer than ANSWER_S: NATS refuses subscriptions while a cluster chooses its leaders.
        """
        while problem := await middle.outcome():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    await middle.link.wait_connected()
                    return
            if middle.link.refused or problem.endswith(LET_IN):
                raise BrokerError(f"{middle.link.problem}. {REMEDY}")

    async def _loopback(self, middle: _Talk, topic: str) -> None:
        if not await self._carries(middle, topic, self._said("loop"), ANSWER_S):
            raise BrokerError(
                f"{self._broker}: what the coordinator publishes to its own subscription does not come back within"
                f" {ANSWER_S:.0f} s. {REMEDY}"
            )

    async def _largest(self, middle: _Talk, topic: str) -> None:
        size = MOST_MESSAGE_BYTES
        while not await self._carries(middle, topic, self._large(size), LARGE_S):
            size //= 2
            if size < SMALLEST:
                break
        if size < MOST_MESSAGE_BYTES:
            raise BrokerError(
                f"{self._broker} carries messages of {size} bytes and no more, and agents send up to"
                f" {MOST_MESSAGE_BYTES}: raise its limit on the size of a message. {REMEDY}"
            )

    async def _carries(self, middle: _Talk, topic: str, payload: bytes, within_s: float) -> bool:
        """Whether it comes back. One that says no to it says so again; one that was started again meanwhile does not."""
        for _ in range(TRIES):
            if await middle.publish(topic, payload) and await middle.hears(payload[:SHOWN], within_s):
                return True
            await self._let_in(middle)
        return False

    def _large(self, size: int) -> bytes:
        mark = self._said(f"large {size}")
        return mark + bytes(size - len(mark))

    async def _retained(self, middle: _Talk) -> None:
        exact, below = self._topic("exact"), self._topic("wild/card")
        for topic in (exact, below):
            await middle.publish(topic, self._said("kept"), retain=True)
        wild = self._topic("wild/+")
        for name, topic, wanted in (("retained", exact, exact), ("retained-wildcard", below, wild)):
            async with _talking(self._broker, wanted) as late:
                if await late.outcome():
                    continue
                await middle.publish(topic, self._said("new"))  # what comes after the other tells that it is not coming
                await late.hears(self._said("new"))
                if not await late.hears(self._said("kept"), EXTRA_S):
                    self._lack(name, f"a retained message does not come to a new subscription to {wanted}")
        for topic in (exact, below):
            await middle.publish(topic, b"", retain=True)

    # -- an agent against the others ------------------------------------------------------------------------------

    async def _as_agent(self, middle: _Talk) -> None:
        own = self._agents[0]
        other = next((each for each in reversed(self._agents) if each.environment != own.environment), self._agents[-1])
        if other == own:
            other = _Agent("nowhere", "nobody")
        with _identity(self._pki, self._broker, own) as broker:
            async with _talking(broker, down(*own, DownChannel.ACK)) as agent:
                if problem := await agent.outcome():
                    self._lack("agent", f"agent {own.name} is not let in: {problem}")
                    return
                await self._writes(agent, middle, own, other)
            await self._reads(broker, middle, own, other)

    async def _writes(self, agent: _Talk, middle: _Talk, own: _Agent, other: _Agent) -> None:
        """Its own comes, another's does not."""
        foreign, mine = self._said("in another's name"), self._said("in its own")
        self.sent_up = frozenset(map(_answer, (foreign, mine)))
        await agent.publish(up(*other, UpChannel.ROUND), _answer(foreign))
        await agent.outcome()  # some brokers end the connection over it
        await agent.publish(up(*own, UpChannel.ROUND), _answer(mine))
        came = await middle.hears(mine)
        if await middle.hears(foreign, GRACE_S):
            raise BrokerError(
                f"{self._broker} lets agent {own.name} publish in the name of {other.name}: its access rules are not in"
                f" force. {REMEDY}"
            )
        if not came:
            self._lack("agent-publish", f"what agent {own.name} publishes to its own topic does not come")

    async def _reads(self, broker: Broker, middle: _Talk, own: _Agent, other: _Agent) -> None:
        """What is another's is refused, or at least does not come although its own does."""
        theirs, mine = down(*other, DownChannel.ACK), down(*own, DownChannel.ACK)
        async with _talking(broker, mine, theirs) as agent:
            if problem := await agent.outcome(patient=False):
                if f"refuses the subscription to {mine}" in problem:
                    self._lack("agent-subscribe", f"agent {own.name} may not read its own topic: {problem}")
                elif not agent.link.refused:
                    self._lack("suback", f"a subscription that its rules deny is not refused in SUBACK: {problem}")
                return
            foreign, right = self._said("for another"), self._said("for it")
            await self._down(middle, other, foreign)
            await self._down(middle, own, right)
            came = await agent.hears(right)
            denied = not await agent.hears(foreign, GRACE_S)
        if not denied:
            raise BrokerError(
                f"{self._broker} lets agent {own.name} read what is for {other.name}: its access rules are not in force."
                f" {REMEDY}"
            )
        self._lack(
            "suback", "a subscription that its rules deny is granted in SUBACK; nothing comes of it all the same"
        )
        if not came:
            self._lack("agent-subscribe", f"what is sent to agent {own.name} does not come")

    async def _down(self, middle: _Talk, agent: _Agent, said: bytes) -> None:
        if agent in self._agents:
            await self._post(agent.name, Ack(spool=said.decode(), sequence=0))
        else:
            await middle.publish(down(*agent, DownChannel.ACK), said)

    # -- words ----------------------------------------------------------------------------------------------------

    def _topic(self, name: str) -> str:
        return f"{ROOT}/check/{self._token}/{name}"

    def _said(self, what: str) -> bytes:
        return f"check {self._token} {what}".encode()

    def _lack(self, name: str, text: str) -> None:
        self._lacks.append(Lack(name, text))


class _Talk:
    """A link, and what is heard on it."""

    def __init__(self, link: Link, said: asyncio.Queue[str]) -> None:
        self.link = link
        self._said = said
        self._seen: deque[bytes] = deque(maxlen=1000)

    async def outcome(self, *, patient: bool = True) -> str:
        """Wait until it is connected, "", or the broker has refused it, or ANSWER_S; why it is not.

        Not `patient`: the first problem is enough.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                while not self.link.connected and not self.link.refused:
                    async with asyncio.TaskGroup() as group:
                        waits = [
                            group.create_task(self.link.wait_connected(), name="connected"),
                            group.create_task(self._said.get(), name="not connected"),
                        ]
                        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                        for wait in waits:
                            wait.cancel()
                    if not patient:
                        break
        return "" if self.link.connected else self.link.problem

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Whether the broker took it."""
        try:
            await self.link.publish(topic, payload, retain=retain)
        except NotConnected:
            return False
        return True

    async def hears(self, wanted: bytes, within_s: float | None = None) -> bool:
        """Listen until a message with these bytes has come, or for this long; one that came before counts."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S if within_s is None else within_s):
                while not self._heard(wanted):
                    message = await anext(self.link.messages())
                    message.done()
                    self._seen.append(message.payload[:SHOWN])
        return self._heard(wanted)

    def _heard(self, wanted: bytes) -> bool:
        return any(wanted in payload for payload in self._seen)


@contextlib.asynccontextmanager
async def _talking(broker: Broker, *subscriptions: str) -> AsyncIterator[_Talk]:
    said: asyncio.Queue[str] = asyncio.Queue()
    async with Link(broker, subscriptions=subscriptions, log=said.put_nowait) as link:
        yield _Talk(link, said)


@contextlib.contextmanager
def _identity(pki_dir: Path, broker: Broker, agent: _Agent) -> Iterator[Broker]:
    """The broker as that agent sees it, with a certificate of its own that nobody else ever holds."""
    issued = pki.issue_agent(pki_dir, *agent, dt.datetime.now(dt.UTC), LIFE)
    with tempfile.TemporaryDirectory(dir=pki_dir, prefix=".check-") as directory:
        certificate, key = Path(directory) / "agent.pem", Path(directory) / "agent.key"
        certificate.write_bytes(issued.certificate)
        write_private(key, issued.key)
        yield replace(broker, certificate=certificate, key=key)


def _answer(said: bytes) -> bytes:
    return pack_up(Resolved(id=said.decode(), lookups=()))
