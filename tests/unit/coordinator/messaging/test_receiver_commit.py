"""Batches are committed in a thread: what goes on meanwhile, what is acknowledged when, and what a coordinator that ends leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from coordinator.rounds.brake import Halt
from tests.support.coordinator import Coordinator, batch
from tests.support.waiting import HANG_S
from wire.envelope import pack_up
from wire.messages import Batch, Down, Status, Stop
from wire.mqtt import Message
from wire.topics import UpChannel, UpTopic, up


class Hanging(Coordinator):
    """The commit of the first batch hangs until `go_on`: before it is written, or with `after` when it is. `taken` has sequences."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.after = False
        self.taken: list[int] = []
        self.stopped = asyncio.Event()
        take = self.store.take

        def hanging(*args: Any, **more: Any) -> Any:
            self.taken.append(args[2])
            first = len(self.taken) == 1
            if first and not self.after:
                self._hang()
            found = take(*args, **more)
            if first and self.after:
                self._hang()
            return found

        self.store.take = hanging  # type: ignore[method-assign]
        self.engine.brake._post = self._told

    def _hang(self) -> None:
        self.begun.set()
        assert self.go_on.wait(HANG_S)

    async def _told(self, agent: str, body: Down) -> None:
        assert isinstance(body, Stop)
        self.stopped.set()

    async def messages(self) -> AsyncIterator[Message]:
        """Three batches of one agent, and no more."""
        for number in (1, 2, 3):
            yield message(batch(number))
        await asyncio.Event().wait()

    def play(self, scene: Callable[[asyncio.Task[None]], Awaitable[None]]) -> None:
        """Receive, and play the scene once the first commit hangs."""

        async def played() -> None:
            async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
                receiving = group.create_task(self.receiver.run(cast("Any", self)), name="collect")
                assert await asyncio.to_thread(self.begun.wait, HANG_S)
                await scene(receiving)
                receiving.cancel()

        asyncio.run(played())

    async def acknowledged_up_to(self, sequence: int) -> None:
        while not self.acknowledged or self.acknowledged[-1][1].sequence < sequence:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)


def message(body: Batch) -> Message:
    return Message(up("dev", "dev-1", UpChannel.OBSERVATIONS), pack_up(body), retained=False, done=lambda: None)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Hanging]:
    made = Hanging(tmp_path)
    yield made
    made.runner.close()
    made.store.close()


def test_a_stop_goes_out_while_a_commit_hangs_and_is_written_after_it(world: Hanging) -> None:
    status = Status(name="dev-1", environment="dev", online=True, raw=True)
    world.estate.take_status(UpTopic("dev", "dev-1", UpChannel.STATUS), status, retained=False)

    def halt() -> Halt | None:
        return world.store.get("halt", Halt | None, None)  # type: ignore[arg-type]

    async def scene(_: asyncio.Task[None]) -> None:
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(world.engine.stop("enough", "olga"), name="stop")
            await world.stopped.wait()
            assert (world.engine.stopped, halt(), world.store.events()) == ("enough", None, [])
            assert not stopping.done()
            world.go_on.set()
        assert (found := halt()) is not None
        assert found.reason == "enough"
        assert [(event.what, event.text) for event in world.store.events()] == [("stopped", "enough")]

    world.play(scene)


def test_nothing_is_acknowledged_before_it_is_committed_and_batches_keep_their_order(world: Hanging) -> None:
    async def scene(_receiving: asyncio.Task[None]) -> None:
        for _ in range(200):
            await asyncio.sleep(0)
        assert (world.taken, world.acknowledged) == ([1], [])
        world.go_on.set()
        await world.acknowledged_up_to(3)

    world.play(scene)
    assert world.taken == [1, 2, 3]
    sequences = [ack.sequence for _, ack in world.acknowledged]
    assert sequences == sorted(sequences)


def test_a_commit_under_way_when_the_coordinator_ends_is_whole_and_its_batch_comes_again(world: Hanging) -> None:
    async def scene(receiving: asyncio.Task[None]) -> None:
        receiving.cancel()
        for _ in range(200):
            await asyncio.sleep(0)
        assert not receiving.done(), "the store would be closed under it"
        world.go_on.set()
        await asyncio.wait({receiving})

    world.play(scene)
    assert (world.taken, world.acknowledged) == ([1], [])
    world.restart()
    assert world.hear(batch(1)) == [1]
    assert world.store._db.execute("SELECT COUNT(*) FROM reports").fetchone() == (1,)


def test_a_report_that_is_committed_counts_for_judging_when_its_round_has_it(world: Hanging) -> None:
    """Else a round that is judged at that moment, without it, would be taken for judged with it."""
    world.after = True
    before = world.store.reports

    async def scene(_: asyncio.Task[None]) -> None:
        assert world.store.reports == before
        world.go_on.set()
        await world.acknowledged_up_to(3)
        assert world.store.reports == before + 3

    world.play(scene)
