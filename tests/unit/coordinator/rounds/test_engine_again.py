"""What is silent is tried again after the spread: when, and what the cells are until then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from coordinator.store import Store
from reachability.arrival import Untokened
from reachability.followups import AGAIN_COPIES
from reachability.vocabulary import Protocol, Result, RoundKind, Schedule
from tests.support.rounds import ANSWERED, TOPOLOGY, World
from tests.support.virtual import now, run
from wire.messages import Arm, Close, Down, Go

SPREAD_S = 4.0


def world_of(store: Store, topology: bytes = TOPOLOGY, **changes: object) -> World:
    """Whose sources send all copies of a cell within half a second."""
    world = World(store, topology)
    world.controls, world.span_s = (ANSWERED,), 0.5
    for name, value in changes.items():
        setattr(world, name, value)
    return world


def gone(world: World) -> list[tuple[float, str, Go]]:
    """When each order to go went out, and where to."""
    sent = zip(world.times, world.sent, strict=True)
    return [(at, order.targets[0].environment, order) for at, (_, order) in sent if isinstance(order, Go)]


def results(world: World, destination: str = "prod") -> set[Result]:
    return {c.result for c in world.estate.cells() if (c.key.agent, c.key.destination) == ("dev-1", destination)}


def test_a_cycle_tries_what_was_silent_again_after_the_spread(store: Store) -> None:
    world = world_of(store)
    run(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
    (first, _, main), (second, _, again) = gone(world)
    assert SPREAD_S - 0.5 <= second - first <= SPREAD_S
    assert again.round != main.round
    assert (again.kind, again.copies) == (RoundKind.NORMAL, 2)
    assert {str(t.ports) for t in again.targets} <= {str(t.ports) for t in main.targets}
    assert Result.PASS in results(world)


def test_until_then_a_cell_stays_what_it_was(store: Store) -> None:
    """A first time not-run; in the next cycle it is no less green than after the last one."""
    seen: list[set[Result]] = []
    world = world_of(store)

    def looks(message: Down) -> None:
        if isinstance(message, Arm):
            tcp = {
                c.result
                for c in world.estate.cells()
                if c.key.agent == "dev-1" and c.key.protocol == "tcp" and c.key.destination == "prod"
            }
            seen.append(tcp)

    world.on_message = looks
    for _ in range(2):
        run(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
    assert seen == [{Result.NOT_RUN}, {Result.NOT_RUN}, {Result.PASS}, {Result.PASS}]


def test_the_next_pairs_do_not_wait_for_it(store: Store) -> None:
    world = world_of(store)
    run(world.engine.cycle("dev-1", ("test", "prod"), Schedule.CYCLE))
    assert [where for _, where, _ in gone(world)] == ["test", "prod", "test", "prod"]
    assert world.times[-1] < 2 * SPREAD_S, "both wait at the same time"


class Slow(World):
    """Whose sources take five seconds for what is tried again, or for a challenge."""

    def _answer(self, agent: str, message: Down) -> None:
        again = isinstance(message, Go) and (message.copies == AGAIN_COPIES or message.kind is RoundKind.CHALLENGE)
        asyncio.get_running_loop().call_later(5.0 if again else 0.0, super()._answer, agent, message)


def test_a_source_goes_on_with_other_pairs_while_it_tries_one_again(store: Store) -> None:
    """Or a cycle of many pairs would take twice as long. Endpoints are in one round at a time all the same."""
    world = Slow(store)
    world.controls, world.span_s = (ANSWERED,), 0.5

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(world.engine.cycle("dev-1", ("test",), Schedule.CYCLE))
            await asyncio.sleep(SPREAD_S + 0.5)
            group.create_task(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
            group.create_task(world.engine.cycle("prod-1", ("test",), Schedule.CYCLE))

    run(scene())
    at = {(where, order.copies): when for when, where, order in gone(world) if order.targets[0].source == "10.10.0.10"}
    assert at["prod", 4] == pytest.approx(SPREAD_S + 0.5, abs=0.1)
    others = [when for when, where, order in gone(world) if where == "test" and order.targets[0].source != "10.10.0.10"]
    assert min(others) >= at["test", AGAIN_COPIES] + 5.0


def test_a_challenge_has_its_source_to_itself(store: Store) -> None:
    """It keeps time: what else left meanwhile would make it late."""
    world = Slow(store)
    world.controls, world.span_s = (ANSWERED,), 0.5
    world.untokened = (
        Untokened(
            address="10.30.0.10", protocol=Protocol.TCP, port=22, came_from="10.20.0.99", source_port=4711, count=1
        ),
    )

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(world.engine.cycle("dev-1", ("test",), Schedule.CYCLE))
            await asyncio.sleep(SPREAD_S - 1.0)
            group.create_task(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))

    run(scene())
    challenged = [when for when, where, order in gone(world) if order.kind is RoundKind.CHALLENGE and where == "prod"]
    (again,) = (
        when
        for when, where, order in gone(world)
        if (where, order.copies) == ("test", AGAIN_COPIES) and order.kind is RoundKind.NORMAL
    )
    assert challenged
    assert not any(at - 5.0 < again < at + 5.0 for at in challenged)


def test_a_spread_that_is_over_already_is_not_waited_for(store: Store) -> None:
    world = world_of(store, tail_s=5.0)
    run(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
    (_, closed), *_ = [(m, at) for at, (_, m) in zip(world.times, world.sent, strict=True) if isinstance(m, Close)]
    assert gone(world)[1][0] - closed < 0.1


@pytest.mark.parametrize("schedule", [Schedule.CYCLE, Schedule.SWEEP])
def test_a_sweep_does_it_within_its_round(store: Store, schedule: Schedule) -> None:
    topology = TOPOLOGY.replace(b"probing: {", b"probing: {spread: 6s, sweep: {ports: [tcp/1-3000]}, ")
    world = world_of(store, topology, span_s=6.0)
    run(world.engine.cycle("dev-1", ("prod",), schedule))
    ((_, _, order),) = gone(world)
    assert order.spread_s == (6.0 if schedule is Schedule.SWEEP else 0.0)


def leaves(world: World) -> None:
    world.deaf = {"dev-1"}
    world.online("dev-1", online=False)


def stops(world: World) -> None:
    world.engine.brake._interrupted = "maintenance"


@pytest.mark.parametrize(("does", "left"), [(leaves, Result.INCONCLUSIVE), (stops, Result.NOT_RUN)])
def test_what_could_not_be_tried_again_is_not_green(store: Store, does: Callable[[World], None], left: Result) -> None:
    """Where its source has gone it is unproven; where all was stopped it is as it was before."""
    world = world_of(store)

    def closes(message: Down) -> None:
        if isinstance(message, Close):
            does(world)

    world.on_message = closes
    run(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
    assert Result.PASS not in results(world)
    assert left in results(world)


def test_a_follow_up_that_is_begun_anew_for_a_cold_child_is_still_of_its_round(store: Store) -> None:
    """The packet child may have ended in the time that was waited: a late report concludes all of them again."""
    world = world_of(store)
    arms: list[float] = []

    def cold(message: Down) -> None:
        if isinstance(message, Arm):
            arms.append(now())
            world.deaf = {"prod-1"} if len(arms) == 2 else set()
            if len(arms) == 2:
                asyncio.get_running_loop().call_later(6.0, world._answer, "prod-1", message)

    world.on_message = cold
    run(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
    (_, _, main), (_, _, again) = gone(world)
    assert len(arms) == 3
    assert [held.spec.round for held in store.group_of(again.round)][0] == main.round
    assert Result.PASS in results(world)
