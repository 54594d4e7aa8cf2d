"""Who sends too much, and that the others need not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.outbox import AT_ONCE, BATCHES_PER_S, Outbox
from agent.spool import MOST_BYTES
from coordinator.messaging.floods import (
    BEHAVED_S,
    BYTES_AT_ONCE,
    CUT_S,
    MESSAGES_AT_ONCE,
    MESSAGES_PER_S,
    MOST_CUT_S,
    Floods,
)
from coordinator.messaging.receiver import Receiver
from wire.mqtt import Link, Message

MANY = int(MESSAGES_AT_ONCE)


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.cut: list[str] = []
        self.floods = Floods(lambda: self.now, lambda agent, _: self.cut.append(agent))


def test_what_an_agent_may_send_passes_and_more_is_cut_and_counted() -> None:
    world = World()
    assert all(world.floods.passes("dev-1", 300) for _ in range(MANY))
    assert not world.floods.passes("dev-1", 300)
    assert not world.floods.passes("dev-1", 300)
    assert (world.cut, world.floods.cuts["dev-1"], world.floods.dropped["dev-1"]) == (["dev-1"], 1, 2)
    assert world.floods.passes("prod-1", 300), "another agent has a budget of its own"


def test_it_is_let_in_again_with_a_new_budget() -> None:
    world = World()
    while world.floods.passes("dev-1", 300):
        pass
    world.now = CUT_S - 1
    assert world.floods.let_in() == []
    assert not world.floods.passes("dev-1", 300)
    assert world.floods.body() == [{"agent": "dev-1", "cuts": 1, "dropped": 2, "out_for_s": 1.0}]
    world.now = CUT_S
    assert world.floods.let_in() == ["dev-1"]
    assert world.floods.passes("dev-1", 300)
    assert world.floods.body() == [{"agent": "dev-1", "cuts": 1, "dropped": 2, "out_for_s": None}]


def test_each_time_it_is_out_for_twice_as_long_until_it_has_behaved_for_an_hour() -> None:
    world = World()

    def out_for() -> float:
        while world.floods.passes("dev-1", 300):
            pass
        began = world.now
        world.now = world.floods.until["dev-1"]
        assert world.floods.let_in() == ["dev-1"]
        return world.now - began

    assert [out_for() for _ in range(8)] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    world.now += BEHAVED_S - 1
    assert out_for() == MOST_CUT_S
    world.now += BEHAVED_S
    assert out_for() == CUT_S
    assert world.floods.cuts["dev-1"] == 10


@pytest.mark.parametrize("size", [500, 40_000])
def test_an_agent_that_sends_its_whole_spool_after_an_outage_is_not_cut(size: int) -> None:
    """64 MiB of batches, at the pace of `agent.outbox`, three times over as its link comes and goes."""
    world = World()
    for number in range(3 * MOST_BYTES // size):
        world.now = max(0.0, number - AT_ONCE) / BATCHES_PER_S
        assert world.floods.passes("dev-1", size)
    assert world.cut == []


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [250_000, 4_000_000])
async def test_nor_is_one_with_few_large_batches_whose_link_comes_and_goes(size: int) -> None:
    """As soon as all is sent the link is lost, and nothing was acknowledged: all of it again."""
    world, passed = World(), list[bool]()
    batches = range(1, MOST_BYTES // size + 1)

    class Publisher:
        async def wait_connected(self, after: int = 0) -> int:
            return after + 1

        async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
            passed.append(world.floods.passes("dev-1", len(payload)))

    spool: Any = SimpleNamespace(sequences=lambda: batches, message=lambda _: bytes(size), tidy=lambda: None)
    outbox = Outbox(Publisher(), spool, "t", sign=lambda sealed: sealed, clock=lambda: world.now, jitter=lambda: 0.5)
    for time in range(1, 6):
        outbox.reconnected()
        while len(passed) < time * len(batches):
            world.now += await outbox.send_due()
    assert all(passed)
    assert world.cut == []


def test_few_messages_that_are_huge_are_a_flood_too() -> None:
    world = World()
    passed = sum(world.floods.passes("dev-1", 2**20) for _ in range(1000))
    assert passed == BYTES_AT_ONCE / 2**20
    assert world.cut == ["dev-1"]


def test_a_budget_refills_with_time_and_a_clock_that_stands_still_gives_nothing() -> None:
    world = World()
    assert all(world.floods.passes("dev-1", 1) for _ in range(MANY))
    world.now = 1.0
    assert all(world.floods.passes("dev-1", 1) for _ in range(int(MESSAGES_PER_S)))
    assert not world.floods.passes("dev-1", 1)


def test_agents_are_taken_in_turn() -> None:
    """A thousand messages of one that wait already, then one of another: that one is the second to be taken."""
    done: list[str] = []
    taken: list[str] = []
    through = asyncio.Event()

    class Messages:
        async def messages(self) -> AsyncIterator[Message]:
            for agent in ["dev/dev-1"] * 1000 + ["prod/prod-1"]:
                yield Message(f"segwatch/v1/{agent}/up/round", b"", False, lambda agent=agent: done.append(agent))  # type: ignore[misc]
            await through.wait()
            raise StopReading

    class StopReading(Exception):  # noqa: N818
        pass

    class Taking(Receiver):
        async def take(self, message: Message) -> None:
            taken.append(message.topic.split("/")[3])
            if len(taken) == len(done) == 1001:
                through.set()

    receiver = Taking(*cast("tuple[Any, Any, Any, Any, Any, Any]", (None,) * 6))
    with pytest.raises(ExceptionGroup):
        asyncio.run(receiver.run(cast("Link", Messages())))
    assert taken[:3] == ["dev-1", "prod-1", "dev-1"]
    assert len(taken) == len(done) == 1001


def test_a_message_that_raises_is_refused_and_counted_and_ends_nothing() -> None:
    taken: list[bytes] = []

    class Taking(Receiver):
        async def take(self, message: Message) -> None:
            if message.payload == b"bad":
                raise ZeroDivisionError("by \x1b[31m")
            taken.append(message.payload)

    estate = SimpleNamespace(agents={"dev-1": None})
    receiver = Taking(*cast("tuple[Any, Any, Any, Any, Any, Any]", (estate, *(None,) * 5)))
    for payload in (b"1", b"bad", b"2", b"bad", b"3"):
        asyncio.run(receiver._try(Message("segwatch/v1/dev/dev-1/up/round", payload, False, lambda: None)))
    assert taken == [b"1", b"2", b"3"]
    assert receiver.refusals.count == 2
    assert receiver.refused == {("dev-1", "fault"): 2}
    [said] = receiver.refusals.newest
    assert said.startswith("segwatch/v1/dev/dev-1/up/round: a fault in segwatch while it was taken")
    assert "ZeroDivisionError" in said
    assert said.isprintable()
