"""Rounds are judged beside the event loop: what happens meanwhile, in which order they come out, and what is not lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from structlog.testing import capture_logs

from coordinator.state import judging
from coordinator.state.concluding import judged_of, rounds_of
from coordinator.store import Store, StoreError
from reachability.life import Event
from reachability.round_data import RoundData, RoundSpec
from reachability.vocabulary import Result
from tests.support.slow_agents import Slow
from tests.support.virtual import VirtualLoop, run
from tests.support.waiting import HANG_S
from wire.messages import Status
from wire.topics import UpChannel, UpTopic


@pytest.fixture
def world(store: Store) -> Slow:
    return Slow(store)


class Patched:
    """Something that happens while a round is judged, before it is. `judged` has the rounds that were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.meanwhile = meanwhile
        self.judged: list[str] = []
        monkeypatch.setattr(judging, "judged_of", self._judged_of)

    def _judged_of(self, rounds: Sequence[RoundData], *, pending: bool) -> Any:
        self.judged.append(rounds[0].spec.round)
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return judged_of(rounds, pending=pending)


def seen_at(world: Slow) -> set[float]:
    matrix = world.estate.matrix
    return {judged.observed_at for key in matrix for _, judged in matrix.rows(key)}


def test_the_loop_goes_on_while_a_round_is_judged_and_sees_its_outcome_whole(
    world: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread waits for what the loop does: on the loop it would wait for ever."""
    begun, go_on = threading.Event(), threading.Event()
    patched = Patched(monkeypatch)
    world.cycle()
    first = dict(world.estate.agents), set(world.estate.matrix), world.estate.book.findings
    results = world.results()

    def slow() -> None:
        begun.set()
        assert go_on.wait(HANG_S)

    patched.meanwhile = slow

    async def scene() -> None:
        world.engine.judging.again(patched.judged[0])
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            task = group.create_task(world.engine.judging.catch_up(), name="catch up")
            await asyncio.to_thread(begun.wait, HANG_S)
            world.now += 7.0
            assert (dict(world.estate.agents), set(world.estate.matrix), world.estate.book.findings) == first
            go_on.set()
            await task

    asyncio.run(scene())
    assert world.estate.agents["dev-1"].last_round == world.now
    assert world.results() == results == {Result.PASS}


def test_rounds_come_out_in_the_order_in_which_they_ended(world: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first takes until the second has long asked."""
    asked = threading.Event()
    patched = Patched(monkeypatch)
    world.cycle("dev-1", "test", "prod")
    names = list(dict.fromkeys(patched.judged))
    groups = [world.estate.store.group_of(name) for name in names]
    patched.judged.clear()
    out: list[str] = []

    def slow() -> None:
        assert asked.wait(HANG_S)

    async def take(spec: RoundSpec, *_: object) -> tuple[Event, ...]:
        out.append(spec.round)
        return ()

    patched.meanwhile = slow
    monkeypatch.setattr(world.estate, "take_judged", take)

    async def scene() -> None:
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            for held in groups:
                group.create_task(world.engine.judging.conclude(rounds_of(held)), name="conclude")
            await asyncio.sleep(0)
            asked.set()

    asyncio.run(scene())
    assert out == patched.judged == names
    assert len(names) == 2


def test_who_turns_out_to_be_two_while_a_round_is_judged_proves_nothing_by_it(
    world: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        for number, process in enumerate(("1", "2", "1"), 1):
            status = Status(
                name="prod-1", environment="prod", online=True, raw=True, instance=process, number=number
            )  # fmt: skip
            world.estate.take_status(UpTopic("prod", "prod-1", UpChannel.STATUS), status, retained=False)

    patched = Patched(monkeypatch, twice)
    world.cycle()
    assert world.estate.holders.two() == {"prod-1"}
    assert world.results() == {Result.INCONCLUSIVE}
    assert len(patched.judged) == 2, "it is judged again with what is known now"


def test_a_clock_that_is_set_while_a_round_is_judged_makes_nothing_fresher(
    world: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step() -> None:
        world.now += 3600.0
        world.estate.clock_stepped(3600.0)

    Patched(monkeypatch, step)
    world.cycle()
    assert seen_at(world) == {1_000_000.0 + 3600.0}, "it began as long ago as before"


def test_a_round_that_is_cut_off_while_it_is_judged_is_judged_from_the_store(
    world: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the coordinator ends: what was acknowledged to the agents is in the store, and would be judged by nobody."""
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go_on.wait(HANG_S)

    async def end() -> None:
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            task = group.create_task(world.engine.judging.conclude(rounds), name="conclude")
            await asyncio.to_thread(begun.wait, HANG_S)
            task.cancel()
            await asyncio.sleep(0)
            go_on.set()
        assert world.results() == {Result.NOT_RUN}
        await world.engine.judging.catch_up()
        assert world.results() == {Result.PASS}

    patched = Patched(monkeypatch)
    world.cycle()
    rounds = rounds_of(world.estate.store.group_of(patched.judged[0]))
    for key in list(world.estate.matrix):
        world.estate.matrix.drop(key)
    patched.meanwhile = slow
    asyncio.run(end())


def test_what_comes_late_of_a_round_while_it_is_judged_again_is_not_forgotten_when_that_is_cut_off(
    world: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched = Patched(monkeypatch)
    world.cycle()
    name = patched.judged[0]
    begun, go_on = threading.Event(), threading.Event()
    patched.judged.clear()

    def slow() -> None:
        begun.set()
        assert go_on.wait(HANG_S)

    patched.meanwhile = slow

    async def scene() -> None:
        ours = world.engine.judging
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            task = group.create_task(ours.run(), name="judging")
            for _ in range(3):
                ours.again(name)
            await asyncio.to_thread(begun.wait, HANG_S)
            task.cancel()
            await asyncio.sleep(0)
            go_on.set()
        assert patched.judged == [name], "what came together is judged together"
        await ours.catch_up()
        assert patched.judged == [name, name]
        await ours.catch_up()
        assert patched.judged == [name, name], "and no more than that"

    asyncio.run(scene())


def test_a_round_that_cannot_be_judged_is_named_and_counted_and_the_next_one_is(
    world: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("by nothing")

    patched = Patched(monkeypatch, broken)
    with capture_logs() as said:
        world.cycle("dev-1", "test", "prod")
    (line,) = [one for one in said if one["log_level"] == "error"]
    assert line["event"] == "a round cannot be judged, please report it"
    assert (line["round"], line["source"]) == (patched.judged[0], "dev-1")
    assert world.engine.judging.faults == {"dev-1": 1}
    assert {key.destination for key in world.estate.matrix} == {"prod"}


def test_a_store_that_does_not_give_a_round_is_named_and_counted_and_ends_nothing(
    world: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.cycle()

    def broken(_: Path) -> Any:
        raise StoreError("the store cannot be read: no")

    with monkeypatch.context() as away, capture_logs() as said:
        away.setattr(judging, "reading", broken)
        world.late(world.everything[0])
    (line,) = [one for one in said if one["log_level"] == "error"]
    assert line["problem"] == "the store cannot be read: no"
    assert world.engine.judging.faults == {"": 1}
    monkeypatch.setattr(world.estate, "take_judged", taken := AsyncMock(return_value=()))
    run(world.engine.judging.catch_up())
    assert taken.call_args[0][0].round == world.everything[0].round, "it is judged as soon as it can be"


def test_judging_that_hangs_is_told_to_the_watchdog(world: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def hangs() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        for seconds in (500.0, 200.0):
            loop.block(seconds)
            said.append(world.engine.stalled())

    Patched(monkeypatch, hangs)
    world.cycle()
    assert said == ["", "the judging of a round: no progress for 600 s"]
    assert run(_stalled(world)) == ""


async def _stalled(world: Slow) -> str:
    return world.engine.stalled()


def test_who_catches_up_waits_for_what_another_is_judging(world: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verify run must not be over before what came in its time is judged."""
    patched = Patched(monkeypatch)
    world.cycle()
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go_on.wait(HANG_S)

    patched.meanwhile = slow
    out: list[str] = []

    async def scene() -> None:
        ours = world.engine.judging
        ours.again(patched.judged[0])
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            task = group.create_task(ours.run(), name="judging")
            await asyncio.to_thread(begun.wait, HANG_S)
            world.now += 7.0
            other = group.create_task(ours.catch_up(), name="catch up")
            other.add_done_callback(lambda _: out.append(str(world.estate.agents["dev-1"].last_round)))
            await asyncio.sleep(0)
            go_on.set()
            await other
            task.cancel()

    asyncio.run(scene())
    assert out == [str(world.now)]
