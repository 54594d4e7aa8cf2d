"""Stopping all probing: what is still sent, what outlives a restart, and what a verify says."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.api.verify import body_of
from coordinator.rounds.brake import AHEAD_S, Halt
from coordinator.rounds.verify_runs import Runs, Stopped
from coordinator.store import Store
from reachability.vocabulary import Schedule
from tests.support.answers import json_of
from tests.support.rounds import World
from tests.support.virtual import run
from tests.support.waiting import HANG_S
from wire.messages import Arm, Down, Go, Status, Stop
from wire.topics import UpChannel, UpTopic

EVERYBODY = ["dev-1", "test-1", "prod-1"]


def after_stop(world: World) -> list[str]:
    """The orders that went down after the first stop."""
    kinds = world.kinds()
    return [kind for kind in kinds[kinds.index("Stop") :] if kind in {"Arm", "Go", "Resolve"}]


@pytest.mark.parametrize("kind", [Arm, Go])
def test_nothing_is_begun_after_the_stop_in_the_middle_of_a_round(store: Store, kind: type) -> None:
    world = World(store)
    post = world._post

    async def stopping(agent: str, body: object) -> None:
        await post(agent, body)  # type: ignore[arg-type]
        if isinstance(body, kind) and not world.engine.stopped:
            await world.engine.stop("now")

    world.engine._post = stopping
    run(world.engine.cycle("dev-1", ("prod", "test"), Schedule.CYCLE))
    assert after_stop(world) == []
    assert [agent for agent, body in world.sent if isinstance(body, Stop)] == EVERYBODY
    assert len(world.estate.matrix) == 0, "what was stopped is not judged"


def test_an_agent_of_which_nothing_was_heard_is_told_when_it_comes(store: Store) -> None:
    """It has given no challenge yet, and would refuse what repeats none."""
    world = World(store)
    world.estate.agents["prod-1"] = replace(world.estate.agents["prod-1"], last_seen=0.0)
    run(world.engine.stop("now"))
    assert [agent for agent, _ in world.sent] == ["dev-1", "test-1"]
    world.online("prod-1")
    run(world.engine.brake.remind())
    assert [agent for agent, _ in world.sent[2:]] == EVERYBODY


def test_it_outlives_a_restart_until_it_is_resumed(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    run(World(store).engine.stop("maintenance", "olga"))
    store.close()
    again = Store(tmp_path / "state")
    world = World(again)
    assert world.engine.stopped == "maintenance"
    run(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
    assert world.sent == []
    run(world.engine.resume("otto"))
    assert [(e.what, e.text, e.by) for e in again.events()] == [
        ("stopped", "maintenance", "olga"),
        ("resumed", "", "otto"),
    ]
    again.close()
    third = Store(tmp_path / "state")
    assert World(third).engine.stopped == ""
    third.close()


def test_a_broker_that_never_says_that_it_has_a_stop_does_not_hold_up_the_writing_of_it(store: Store) -> None:
    world = World(store)
    tell, written = world._post, list[tuple[int, object]]()

    async def withheld(agent: str, body: Down) -> None:
        await tell(agent, body)
        await asyncio.sleep(15.0)
        written.append((len(world.sent), store.get("halt", Halt | None, None)))  # type: ignore[arg-type]

    put, sent_before = store.put, list[int]()

    def putting(name: str, value: object) -> None:
        sent_before.append(len(world.sent))
        put(name, value)

    world.engine.brake._post = withheld
    store.put = putting  # type: ignore[method-assign]
    run(world.engine.stop("maintenance", "olga"))
    assert [(count, held.reason) for count, held in written] == [(3, "maintenance")] * 3  # type: ignore[attr-defined]
    assert sent_before == [3], "and everybody is told before"


def test_a_stop_that_comes_while_a_resume_is_written_stays(store: Store) -> None:
    world, put = World(store), store.put
    run(world.engine.stop("maintenance"))
    begun, go_on = threading.Event(), threading.Event()

    def slow(name: str, value: object) -> None:
        if (name, value) == ("halt", None):
            begun.set()
            assert go_on.wait(HANG_S)
        put(name, value)

    async def scene() -> None:
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            group.create_task(world.engine.resume(), name="resume")
            assert await asyncio.to_thread(begun.wait, HANG_S)
            group.create_task(world.engine.stop("once more"), name="stop")
            await asyncio.sleep(0)
            assert world.engine.stopped == "once more"
            go_on.set()

    store.put = slow  # type: ignore[method-assign]
    asyncio.run(scene())
    assert world.engine.stopped == "once more"
    assert store.get("halt", Halt | None, None).reason == "once more"  # type: ignore[union-attr,arg-type]


def test_a_stop_that_is_lifted_before_it_is_written_is_lifted_on_disk_too(store: Store) -> None:
    """A broker that takes its time over the order has the writing of it wait for a moment."""
    world = World(store)
    tell = world._post

    async def withheld(agent: str, body: Down) -> None:
        await tell(agent, body)
        await asyncio.sleep(0.5)

    world.engine.brake._post = withheld

    async def scene() -> None:
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            group.create_task(world.engine.stop("maintenance"), name="stop")
            await asyncio.sleep(0.05)
            assert world.engine.stopped == "maintenance"
            await world.engine.resume()

    asyncio.run(scene())
    assert world.engine.stopped == ""
    assert store.get("halt", Halt | None, None) is None  # type: ignore[arg-type]


def test_a_stop_that_is_cut_off_while_it_waits_for_the_disk_is_written_at_the_end(store: Store) -> None:
    """The end of a coordinator cuts off whoever asks it something."""
    world, begun, go_on = World(store), threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go_on.wait(HANG_S)

    async def scene() -> None:
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            group.create_task(store.beside(slow), name="commit")
            assert await asyncio.to_thread(begun.wait, HANG_S)
            stop = group.create_task(world.engine.stop("maintenance"), name="stop")
            await asyncio.sleep(2 * AHEAD_S)
            stop.cancel()
            await asyncio.wait({stop})
            go_on.set()

    asyncio.run(scene())
    assert store.get("halt", Halt | None, None) is None  # type: ignore[arg-type]
    world.engine.brake.end()
    assert store.get("halt", Halt | None, None).reason == "maintenance"  # type: ignore[union-attr,arg-type]


def confirmations(world: World) -> list[str]:
    return [world.engine.brake.confirmed(agent) for agent in world.estate.agents.values()]


def says(world: World, name: str, **more: Any) -> None:
    """An agent's status."""
    environment = world.estate.topology.agents()[name]
    status = Status(name=name, environment=environment, online=True, raw=True, **more)
    world.estate.take_status(UpTopic(environment, name, UpChannel.STATUS), status, retained=False)


def test_an_agent_has_confirmed_a_stop_by_a_sequence_of_after_it(store: Store) -> None:
    world = World(store)
    brake = world.engine.brake
    brake.newest = lambda: 100
    for name in EVERYBODY:
        says(world, name, stopped=100)  # of the stop before
    assert confirmations(world) == ["", "", ""], "nothing is stopped"
    run(world.engine.stop("maintenance"))
    assert confirmations(world) == ["not yet"] * 3
    says(world, "dev-1", stopped=101)
    says(world, "test-1", stopped=-1)  # its version does not say
    assert confirmations(world) == ["confirmed", "unable", "not yet"]
    brake.newest = lambda: 105
    run(world.engine.stop("maintenance, and longer"))
    assert confirmations(world)[0] == "confirmed", "it has been stopped all the while"
    says(world, "dev-1", stopped=0, instance="another")
    assert confirmations(world)[0] == "not yet", "a new process has stopped nothing yet"
    run(world.engine.resume())
    assert confirmations(world) == ["", "", ""]


def test_of_two_processes_under_one_name_neither_speaks_for_the_other(store: Store) -> None:
    world = World(store)
    run(world.engine.stop("maintenance"))
    says(world, "dev-1", stopped=7)
    assert confirmations(world)[0] == "confirmed"
    world.estate.agents["dev-1"] = replace(world.estate.agents["dev-1"], two_holders=True)
    assert confirmations(world)[0] == "not yet"


def test_who_has_confirmed_outlives_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    world = World(store)
    world.engine.brake.newest = lambda: 100
    run(world.engine.stop("maintenance", "olga"))
    store.close()
    again = Store(tmp_path / "state")
    world = World(again)
    says(world, "dev-1", stopped=100)
    says(world, "test-1", stopped=101)
    assert confirmations(world)[:2] == ["not yet", "confirmed"]
    again.put("halt", {"reason": "maintenance", "by": "olga", "at": 1.0})  # by a version that did not ask
    world = World(again)
    says(world, "test-1", stopped=101)
    assert confirmations(world)[1] == "not yet"
    again.close()


def test_one_that_never_came_has_not_confirmed(store: Store) -> None:
    world = World(store)
    world.estate.agents["prod-1"] = replace(world.estate.agents["prod-1"], last_seen=0.0)
    run(world.engine.stop("maintenance"))
    assert confirmations(world) == ["unable", "unable", "not yet"]


def test_a_verify_neither_runs_nor_lifts_it(store: Store) -> None:
    world = World(store)
    runs = Runs(world.estate, world.engine)

    async def scene() -> None:
        waiting = runs.ask(sweep=False, source=None, destination=None)
        await world.engine.stop("maintenance")
        with pytest.raises(Stopped, match="since 1970-01-12T13:46:40.000Z: maintenance. To go on: segwatch resume"):
            runs.ask(sweep=False, source=None, destination=None)
        serving = asyncio.get_running_loop().create_task(runs.serve())
        asked = runs.get(waiting)
        assert asked is not None
        while asked.state != "finished":  # noqa: ASYNC110 - a run tells nobody of its end
            await asyncio.sleep(0.1)
        serving.cancel()
        body = json_of(body_of(asked))
        assert body["stopped"] == "maintenance"
        assert body["result"]["summary"]["pass"] == 0
        assert body["result"]["summary"]["not_run"] > 0
        assert world.engine.stopped == "maintenance"
        assert [type(message) for _, message in world.sent] == [Stop] * 3

    run(scene())


def test_the_interruption_of_a_verify_leaves_a_stop_in_force(store: Store) -> None:
    world = World(store)

    async def scene() -> None:
        await world.engine.brake.interrupt("the verify run was interrupted")
        assert stopped()
        world.engine.brake.go_on()
        assert stopped() == ""
        await world.engine.stop("maintenance")
        await world.engine.brake.interrupt("the verify run was interrupted")
        world.engine.brake.go_on()
        assert stopped() == "maintenance"

    def stopped() -> str:
        return world.engine.stopped

    run(scene())
