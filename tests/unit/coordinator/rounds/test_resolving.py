"""What agents are asked for names: all of them, in parts that an agent takes, and whatever becomes of the agent meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from coordinator.rounds.resolving import MOST_WAITING, RESOLVE_S
from coordinator.store import Store
from coordinator.topology.load import parse_topology
from reachability.observation import Lookup
from reachability.vocabulary import Schedule
from tests.support.rounds import TOPOLOGY, World
from tests.support.virtual import run
from wire.messages import MOST_NAMES, Down, Resolve, Resolved

NAMES = tuple(f"n{number}.prod.internal" for number in range(2 * MOST_NAMES + 88))
SERVICES = (
    f"prod-1: {{addresses: [10.30.0.10]}}}}, services: {{web: {{hosts: [{', '.join(NAMES)}], ports: [tcp/80]}}}}}}\n"
)
NAMED = TOPOLOGY.replace(b"prod-1: {addresses: [10.30.0.10]}}}\n", SERVICES.encode())
WITHOUT_DEV = NAMED.replace(b"  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}\n", b"")


def answer(request: Resolve) -> Resolved:
    return Resolved(
        id=request.id, lookups=tuple(Lookup(name=name, addresses=("10.30.0.21",)) for name in request.names)
    )


def asked(world: World) -> list[Resolve]:
    return [message for _, message in world.sent if isinstance(message, Resolve)]


def answering(world: World, of: Callable[[Resolve], float | None]) -> Callable[[Down], None]:
    """Answers each request after so many seconds; None: never."""

    def heard(message: Down) -> None:
        if isinstance(message, Resolve) and (after_s := of(message)) is not None:
            asyncio.get_running_loop().call_later(after_s, world.engine.answer, "dev-1", answer(message))

    return heard


@pytest.fixture
def world(store: Store) -> World:
    made = World(store, NAMED)
    made.online("test-1", online=False)
    return made


def cycle(world: World, then_s: float = 0.0) -> None:
    async def scene() -> None:
        await world.engine.cycle("dev-1", (), Schedule.CYCLE)
        await asyncio.sleep(then_s)

    run(scene())


def test_any_number_of_names_is_asked_for_in_parts_that_an_agent_takes(world: World) -> None:
    world.on_message = answering(world, lambda _: 0.0)
    cycle(world)
    assert [len(request.names) for request in asked(world)] == [MOST_NAMES, MOST_NAMES, 88]
    assert [name for request in asked(world) for name in request.names] == list(NAMES)
    assert set(world.estate.lookups("dev-1")) == set(NAMES)


def test_a_part_that_is_not_answered_takes_nothing_from_the_others(world: World) -> None:
    world.on_message = answering(world, lambda request: None if NAMES[0] in request.names else 0.0)
    cycle(world)
    assert set(world.estate.lookups("dev-1")) == set(NAMES[MOST_NAMES:])


def test_an_answer_that_comes_late_counts_for_the_next_cycle(world: World) -> None:
    """Names that nobody answers for take three seconds each, thirty-two at a time: a part may take longer than it is given."""
    world.on_message = answering(world, lambda request: RESOLVE_S + 1 if NAMES[0] in request.names else 0.0)
    cycle(world, then_s=2.0)
    assert set(world.estate.lookups("dev-1")) == set(NAMES)


def test_a_cycle_and_a_sweep_that_ask_at_the_same_time_both_get_their_answers(world: World) -> None:
    world.on_message = answering(world, lambda _: 1.0)

    async def scene() -> float:
        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for schedule in (Schedule.CYCLE, Schedule.SWEEP):
                group.create_task(world.engine.cycle("dev-1", (), schedule))
        return asyncio.get_running_loop().time() - began

    assert run(scene()) == pytest.approx(3.0, abs=0.1)


def test_what_is_never_answered_is_not_remembered_for_ever(world: World) -> None:
    for _ in range(MOST_WAITING):
        cycle(world)
    waiting = world.engine.resolving._asked["dev-1"]
    assert len(waiting) == MOST_WAITING


def test_all_who_are_there_are_asked_at_the_same_time_and_a_run_asks_nobody_again(world: World) -> None:
    """What one agent finds is probed by all: an address that came to light half-way would be left untested by the run."""

    def heard(message: Down) -> None:
        if isinstance(message, Resolve):
            agent = world.sent[-1][0]
            asyncio.get_running_loop().call_later(1.0, world.engine.answer, agent, answer(message))

    world.on_message = heard

    async def scene() -> float:
        began = asyncio.get_running_loop().time()
        await world.engine.resolving.ask_all()
        took = asyncio.get_running_loop().time() - began
        await world.engine.cycle("dev-1", (), Schedule.CYCLE, "run-1")
        return took

    assert run(scene()) == pytest.approx(3.0, abs=0.1)
    assert {agent for agent, _ in world.sent} == {"dev-1", "prod-1"}, "those of the name's own environment too"
    assert len(asked(world)) == 6


def test_an_answer_that_nobody_asked_for_is_nothing(world: World) -> None:
    world.engine.answer("dev-1", answer(Resolve(id="7", names=NAMES[:1])))
    assert world.estate.lookups("dev-1") == {}


@pytest.mark.parametrize("answers", [True, False])
def test_an_agent_that_leaves_the_topology_while_it_is_asked_ends_nothing(world: World, answers: bool) -> None:  # noqa: FBT001
    """The error would end the other rounds of whoever waits for this cycle."""

    def leaves(message: Down) -> None:
        if isinstance(message, Resolve):
            world.estate.take_topology(parse_topology(WITHOUT_DEV))
            if answers:
                world.engine.answer("dev-1", answer(message))

    world.on_message = leaves
    cycle(world)
    assert len(asked(world)) == 1
    assert world.estate.lookups("dev-1") == {}
