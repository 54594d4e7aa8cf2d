"""A coordinator made of a key and a link, and what it orders by hand."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from coordinator.broker import pki
from coordinator.messaging.signers import NotKnownYet, Signers
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, RoundKind
from tests.loopback.estate import Site
from tests.support.waiting import HANG_S
from wire.envelope import AnyUp
from wire.messages import Arm, Batch, Done, Go, Status
from wire.mqtt import Link
from wire.signing import AnyDown, channel_of, next_sequence, pack_down
from wire.topics import all_up, down, parse_up

M = TypeVar("M")


class Middle:
    """What a coordinator does on the wire, by hand."""

    def __init__(self, site: Site) -> None:
        self.key = pki.load_signing_key(site.pki)
        self.link = Link(site.broker.endpoint(), subscriptions=all_up())
        self.signers = Signers((site.pki / "ca.pem").read_bytes(), time.time)
        self.sequence = 0
        self.challenge = b""
        self.seen: list[AnyUp] = []
        self.unheard: list[AnyUp] = []

    async def tell(self, body: AnyDown) -> bytes:
        self.sequence = next_sequence(self.sequence, time.time())
        return await self.send(
            pack_down(self.key, "dev-1", self.sequence, body, time.time(), echo=self.challenge), body
        )

    async def send(self, payload: bytes, body: AnyDown) -> bytes:
        await self.link.publish(down("dev", "dev-1", channel_of(body)), payload)
        return payload

    async def hear(self, kind: type[M], fits: Callable[[M], bool] = lambda _: True) -> M:
        """The first message of that kind that was not heard yet; those of one topic come in order, of two they do not."""
        for said in self.unheard:
            if isinstance(said, kind) and fits(said):
                self.unheard.remove(said)
                return said
        async with asyncio.timeout(HANG_S):
            async for message in self.link.messages():
                topic = parse_up(message.topic)
                assert topic is not None
                message.done()
                try:
                    said = await self.signers.open(topic, message.payload)
                except NotKnownYet:  # a batch from before the first status: it comes again
                    continue
                if isinstance(said, Status) and said.online:
                    self.challenge = said.challenge
                self.seen.append(said)
                if isinstance(said, kind) and fits(said):
                    return said
                self.unheard.append(said)
        raise AssertionError


def target(address: str, number: int = 1) -> Target:
    return Target(id=number, environment="prod", address=address, protocol=Protocol.TCP, ports=PortSet.parse("22"))


def go(name: str, *addresses: str) -> Go:
    targets = tuple(target(address, number) for number, address in enumerate(addresses))
    return Go(round=name, key=b"k" * 16, kind=RoundKind.NORMAL, targets=targets)


def arm(name: str) -> Arm:
    return Arm(round=name, key=b"k" * 16, kind=RoundKind.NORMAL, source="prod-1", targets=(target("10.10.0.10"),))


def of(name: str) -> Callable[[Batch | Done], bool]:
    """What is said of a round: a batch comes again after some seconds without an acknowledgement."""

    def fits(said: Batch | Done) -> bool:
        if isinstance(said, Done):
            return said.round == name
        return name in {s.round for s in said.sources} | {w.round for w in said.witnesses}

    return fits
