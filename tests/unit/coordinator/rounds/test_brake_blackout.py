"""A blackout of the topology holds for everything that sends, also when it begins in mid-round; a person may say otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.rounds.trace import CannotTraceError, trace
from coordinator.rounds.verify_runs import InBlackout, Run, Runs
from coordinator.store import Store
from reachability.arrival import Untokened
from reachability.matrix import CellKey
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Schedule
from tests.support.rounds import ANSWERED, TOPOLOGY, World
from tests.support.virtual import run
from wire.messages import Close, Go, Stop

# The worlds' clock stands at 13:46:40.
WINDOW = b'{every: 60s, confirm: 1, blackout: [{cron: "47 13 * * *", for: 10m, timezone: UTC}]}'
QUIET = TOPOLOGY.replace(b"{every: 60s, confirm: 1}", WINDOW)
BEFORE, WITHIN, AFTER = 1_000_000.0, 1_000_030.0, 1_000_900.0
WORDS = "a blackout is open: '47 13 * * *' for 0:10:00, UTC"
KEY = CellKey(
    agent="dev-1", source_address="10.10.0.10", destination="prod", address="10.30.0.10", protocol=Protocol.TCP
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = Store(tmp_path / "state")
    yield World(store, QUIET)
    store.close()


def gone(world: World) -> int:
    return sum(isinstance(message, Go) for _, message in world.sent)


async def finished(runs: Runs, name: str) -> Run:
    serving = asyncio.get_running_loop().create_task(runs.serve())
    asked = runs.get(name)
    assert asked is not None
    while asked.state != "finished":  # noqa: ASYNC110 - a run tells nobody of its end
        await asyncio.sleep(0.1)
    serving.cancel()
    return asked


def test_nothing_is_sent_off_in_it_and_all_goes_on_afterwards(world: World) -> None:
    world.now = WITHIN
    run(world.engine.cycle("dev-1", ("prod", "test"), Schedule.CYCLE))
    assert world.sent == []
    world.estate.agents["dev-1"] = replace(world.estate.agents["dev-1"], traces=True)
    with pytest.raises(CannotTraceError, match=f"all probing is stopped: {WORDS[:20]}"):
        run(trace(world.estate, world.engine, KEY, PortSet.of([22]), ""))
    world.now = AFTER
    run(world.engine.cycle("dev-1", ("prod", "test"), Schedule.CYCLE))
    assert gone(world) == 2


def test_one_that_begins_in_mid_round_ends_it_and_its_agents_hear_of_it(world: World) -> None:
    def begins() -> None:
        world.now = WITHIN

    world.on_go = begins
    run(world.engine.cycle("dev-1", ("prod", "test"), Schedule.CYCLE))
    assert gone(world) == 1
    assert len(world.estate.matrix) == 0, "what was cut off is not judged"
    run(world.engine.brake.look())
    assert [message.reason for _, message in world.sent if isinstance(message, Stop)] == 3 * [WORDS]
    run(world.engine.brake.look())
    assert sum(isinstance(message, Stop) for _, message in world.sent) == 3, "once"


def test_a_verify_is_refused_unless_somebody_says_why_which_is_recorded(world: World) -> None:
    world.now = WITHIN
    runs = Runs(world.estate, world.engine)
    with pytest.raises(InBlackout, match=r"for 0:10:00, UTC\. To probe all the same: segwatch verify --in-blackout"):
        runs.ask(sweep=False, source="dev", destination=None)
    name = runs.ask(sweep=False, source="dev", destination=None, in_blackout="the audit is today", by="olga")
    made = run(finished(runs, name))
    assert (made.stopped, gone(world)) == ("", 2)
    said = [(e.what.value, e.text, e.by) for e in world.estate.store.events()]
    assert ("probed in a blackout", "the audit is today", "olga") in said
    assert world.engine.stopped == WORDS, "for that run alone"


def test_a_verify_in_whose_midst_one_begins_says_why_the_rest_is_not_run(world: World) -> None:
    def begins() -> None:
        world.now = WITHIN

    world.on_go = begins
    runs = Runs(world.estate, world.engine)
    made = run(finished(runs, runs.ask(sweep=False, source="dev", destination=None)))
    assert (made.stopped, gone(world)) == (WORDS, 1)
    assert world.now != BEFORE


def test_what_a_person_has_probed_in_it_is_that_run_alone(world: World) -> None:
    """Not a trace that somebody else asks for meanwhile, and not the schedule's cycle that the blackout found under way."""
    world.now, world.engine.brake.in_blackout = WITHIN, "run-1"
    run(world.engine.cycle("dev-1", ("prod", "test"), Schedule.CYCLE))
    run(world.engine.cycle("dev-1", ("prod", "test"), Schedule.CYCLE, "run-2"))
    assert world.sent == []
    world.estate.agents["dev-1"] = replace(world.estate.agents["dev-1"], traces=True)
    with pytest.raises(CannotTraceError, match=f"all probing is stopped: {WORDS[:20]}"):
        run(trace(world.estate, world.engine, KEY, PortSet.of([22]), ""))
    run(world.engine.cycle("dev-1", ("prod", "test"), Schedule.CYCLE, "run-1"))
    assert gone(world) == 2


def test_one_that_begins_during_such_a_run_ends_what_is_not_of_it(world: World) -> None:
    async def scene() -> list[str]:
        world.engine.brake.in_blackout = "run-1"
        world.deaf.add("dev-1")
        cycle = asyncio.get_running_loop().create_task(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
        while not gone(world):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.1)
        world.now = WITHIN
        await world.engine.brake.look()
        stopped = [agent for agent, message in world.sent if isinstance(message, Stop)]
        await cycle
        return stopped

    assert run(scene()) == ["dev-1"]


def test_nobody_asks_from_inside_again_once_it_has_begun(world: World) -> None:
    """That sends as well, after the source's last packet."""

    def begins() -> None:
        world.now = WITHIN

    world.on_go = begins
    run(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
    assert [message.again for _, message in world.sent if isinstance(message, Close)] == [False]


def test_a_sweep_is_sent_off_neither(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    world = World(store, QUIET.replace(b"probing: {", b"probing: {sweep: {ports: [tcp/1-3000]}, "))
    world.now = WITHIN
    run(world.engine.cycle("dev-1", ("prod",), Schedule.SWEEP))
    assert world.sent == []
    world.now = AFTER
    run(world.engine.cycle("dev-1", ("prod",), Schedule.SWEEP))
    assert gone(world) == 1
    store.close()


@pytest.mark.parametrize("challenge", [True, False])
def test_what_follows_a_round_is_left_out_where_one_begins_between(world: World, *, challenge: bool) -> None:
    """A challenge, or what was silent tried again: the round before it was whole."""
    world.controls, world.span_s = (ANSWERED,), 10.0 if challenge else 0.5
    if challenge:
        strange = Untokened(
            address="10.30.0.10", protocol=Protocol.TCP, port=22, came_from="10.20.0.99", source_port=4711, count=1
        )
        world.untokened = (strange,)

    async def scene() -> None:
        cycle = asyncio.get_running_loop().create_task(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
        while not world.estate.matrix and not cycle.done():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        world.now = WITHIN
        await cycle

    run(scene())
    assert len(world.estate.matrix) > 0
    assert gone(world) == 1
