"""What the loop has to write while a thread writes: the newest of it comes last to the disk."""

from __future__ import annotations

import asyncio
import threading

from coordinator.state.estate import Estate
from reachability.life import EventKind
from reachability.round_data import RoundSpec
from reachability.vocabulary import RoundKind, Schedule
from tests.support.coordinator import Coordinator
from tests.support.waiting import HANG_S
from wire.messages import Status
from wire.topics import UpChannel, UpTopic

SPEC = RoundSpec(
    round="R1", kind=RoundKind.NORMAL, schedule=Schedule.CYCLE, source="dev-1", source_environment="dev", destination="prod",
    targets=(),
)  # fmt: skip


def says(estate: Estate, agent: str, instance: str, number: int) -> None:
    environment = agent.partition("-")[0]
    status = Status(name=agent, environment=environment, online=True, raw=True, instance=instance, number=number)
    heard = estate.take_status(UpTopic(environment, agent, UpChannel.STATUS), status, retained=False)
    assert not heard.problem


def test_of_two_that_turn_out_to_be_doubled_one_after_the_other_a_restart_forgets_none(world: Coordinator) -> None:
    estate, begun, go_on = world.estate, threading.Event(), threading.Event()
    for agent in ("dev-1", "prod-1"):
        says(estate, agent, "a", 1)
        says(estate, agent, "b", 1)

    def slow() -> None:
        begun.set()
        assert go_on.wait(HANG_S)

    async def scene() -> None:
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            writing = group.create_task(world.store.beside(slow), name="commit")
            assert await asyncio.to_thread(begun.wait, HANG_S)
            says(estate, "dev-1", "a", 2)
            go_on.set()
            while world.store.writer.busy:  # noqa: ASYNC110 - at the very turn of the loop at which it is not
                await asyncio.sleep(0)
            says(estate, "prod-1", "a", 2)
            await writing

    asyncio.run(scene())
    assert estate.holders.two() == {"dev-1", "prod-1"}
    assert world.store.get("two_holders", list[str], []) == ["dev-1", "prod-1"]


def test_what_was_cut_off_while_it_waited_for_the_disk_is_written_at_the_end(world: Coordinator) -> None:
    estate, begun, go_on = world.estate, threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go_on.wait(HANG_S)

    async def scene() -> None:
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            group.create_task(world.store.beside(slow), name="commit")
            assert await asyncio.to_thread(begun.wait, HANG_S)
            noting = group.create_task(estate.noted(EventKind.RESUMED, "", "otto"), name="note")
            await asyncio.sleep(0)
            noting.cancel()
            await asyncio.wait({noting})
            go_on.set()

    asyncio.run(scene())
    assert world.store.events() == []
    estate.end()
    assert [(event.what, event.by) for event in world.store.events()] == [("resumed", "otto")]


def test_a_round_that_waits_for_the_disk_while_the_clock_is_set_began_by_the_new_one(world: Coordinator) -> None:
    estate, begun, go_on = world.estate, threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go_on.wait(HANG_S)

    async def scene() -> None:
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            group.create_task(world.store.beside(slow), name="commit")
            assert await asyncio.to_thread(begun.wait, HANG_S)
            group.create_task(estate.begin(SPEC, "R1"), name="begin")
            await asyncio.sleep(0)
            world.now -= 3600.0
            estate.clock_stepped(-3600.0)
            go_on.set()

    asyncio.run(scene())
    assert world.store.began("R1") == world.now
