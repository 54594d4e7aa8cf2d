"""The round engine with agents that are functions: what it asks of whom, in which order, and when one of them fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from coordinator.store import Store
from coordinator.topology.load import parse_topology
from reachability.arrival import Untokened
from reachability.evidence import Conclusion, conclude
from reachability.round_data import RoundData
from reachability.vocabulary import Protocol, Result, RoundKind, Schedule
from tests.support.rounds import ANSWERED, TOPOLOGY, World
from tests.support.virtual import run
from wire.messages import Arm, Close, Down, Go, Stop

ROUND = ["Arm", "Go", "Close"]


def test_the_witness_is_armed_before_the_source_goes_and_closed_after(store: Store) -> None:
    world = World(store)
    run(world.engine.cycle("dev-1", ("test", "prod"), Schedule.CYCLE))
    rounds: dict[str, list[tuple[str, str]]] = {}
    for agent, message in world.sent:
        assert isinstance(message, Arm | Go | Close)
        rounds.setdefault(message.round, []).append((agent, type(message).__name__))
    assert list(rounds.values()) == [
        list(zip((witness, "dev-1", witness), ROUND, strict=True)) for witness in ("test-1", "prod-1")
    ]
    assert world.kinds() == ["Arm", "Go", "Arm", "Go", "Close", "Close"], "the second goes in the tail of the first"


def test_strange_packets_are_challenged_again_where_the_source_kept_no_time_and_not_for_ever(store: Store) -> None:
    world = World(store)
    world.untokened = (
        Untokened(
            address="10.30.0.10", protocol=Protocol.TCP, port=22, came_from="10.20.0.99", source_port=4711, count=1
        ),
    )
    run(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
    gone = [m for _, m in world.sent if isinstance(m, Go)]
    assert [m.kind for m in gone] == [RoundKind.NORMAL, *3 * [RoundKind.CHALLENGE]]
    assert [(t.address, str(t.ports)) for t in gone[1].targets] == [("10.30.0.10", "22")]


def test_the_rounds_that_cells_and_findings_stand_on_are_held(store: Store) -> None:
    world = World(store)
    run(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
    run(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
    first, second = dict.fromkeys(m.round for _, m in world.sent if isinstance(m, Go))
    estate = world.estate
    assert estate.standing() == {second}
    cell = next(cell for cell in estate.cells() if cell.judged is not None)
    assert cell.judged is not None
    leak = replace(cell.judged, round=first)
    estate.book.apply([replace(cell, result=Result.FAIL, judged=leak)], estate.now(), 1)
    assert estate.standing() == {first, second}


def test_a_verify_run_ends_a_cycle_that_was_under_way(store: Store) -> None:
    """Its next round would come after the run's own, and take the cells away from it."""
    world = World(store)

    def comes() -> None:
        world.engine.exclusive = "run-1"

    world.on_go = comes
    run(world.engine.cycle("dev-1", ("test", "prod"), Schedule.CYCLE))
    assert world.pairs() == [("dev-1", "test")]
    run(world.engine.cycle("dev-1", ("test", "prod"), Schedule.CYCLE, "run-1"))
    assert world.pairs()[1:] == [("dev-1", "test"), ("dev-1", "prod")]
    rows = [row for key in world.estate.matrix for row in world.estate.matrix.rows(key)]
    assert {judged.run for _, judged in rows} == {"run-1"}


def test_a_destination_is_in_one_round_at_a_time(store: Store) -> None:
    world = World(store)

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            for agent in ("dev-1", "test-1"):
                group.create_task(world.engine.cycle(agent, ("prod",), Schedule.CYCLE))

    run(scene())
    assert sorted(world.pairs()) == [("dev-1", "prod"), ("test-1", "prod")]
    sending = [kind for kind in world.kinds() if kind != "Close"]
    assert sending == ["Arm", "Go", "Arm", "Go"], "the second was armed only after the first had sent"


def test_a_witness_that_does_not_answer_costs_its_own_cells_alone(store: Store) -> None:
    world = World(store)
    world.deaf = {"prod-1"}
    run(world.engine.cycle("dev-1", ("prod", "test"), Schedule.CYCLE))
    assert world.pairs() == [("dev-1", "prod"), ("dev-1", "test")], "the source goes all the same"
    assert Result.PASS not in {c.result for c in world.estate.cells() if c.key.destination == "prod"}


def test_a_witness_that_is_ready_after_the_source_had_gone_proves_nothing(store: Store) -> None:
    """Its order waited in a broker that stood still: what it did not see may have come before."""
    world = World(store)
    world.controls = (ANSWERED,)
    world.deaf = {"prod-1"}

    def late() -> None:
        *_, arm = [message for _, message in world.sent if isinstance(message, Arm)]
        world.deaf = set()
        world._answer("prod-1", arm)

    world.on_go = late
    run(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
    assert results(world) == {Result.INCONCLUSIVE}


def test_a_round_whose_source_was_not_heard_of_before_its_witness_was_closed_proves_nothing(store: Store) -> None:
    """The order to go may reach it after the witness has stopped listening."""
    world = World(store)
    world.controls = (ANSWERED,)
    world.deaf = {"dev-1"}

    def goes_late(message: Down) -> None:
        if isinstance(message, Close):
            (go,) = [m for _, m in world.sent if isinstance(m, Go)]
            asyncio.get_running_loop().call_soon(world._answer, "dev-1", go)

    world.on_message = goes_late

    async def leave() -> None:
        await asyncio.sleep(1.0)
        world.online("dev-1", online=False)

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
            group.create_task(leave())

    run(scene())
    assert world.reports
    assert results(world) == {Result.INCONCLUSIVE}


def results(world: World) -> set[Result]:
    """Of dev's cells in prod over TCP, once all their reports came again, from the spools."""
    for sequence, report in enumerate(list(world.everything), 1):
        world.estate.store.take(report.agent, "spool", sequence, sequence, [report], world.now)
    world.late(*world.everything)
    mine = ("dev-1", "prod", Protocol.TCP)
    return {c.result for c in world.estate.cells() if (c.key.agent, c.key.destination, c.key.protocol) == mine}


def test_silence_that_a_witness_listened_to_is_proof(store: Store) -> None:
    world = World(store)
    world.controls = (ANSWERED,)
    run(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
    assert results(world) == {Result.PASS}


def test_a_source_that_goes_away_leaves_no_cells(store: Store) -> None:
    world = World(store)
    world.deaf = {"dev-1"}

    async def leave() -> None:
        await asyncio.sleep(1.0)
        world.online("dev-1", online=False)

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(world.engine.cycle("dev-1", ("prod", "test"), Schedule.CYCLE))
            group.create_task(leave())

    run(scene())
    assert world.pairs() == [("dev-1", "prod")], "the next round is not begun"
    assert len(world.estate.matrix) == 0


WITHOUT = [
    (
        "  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}",
        "  dev: {networks: [10.10.0.0/24]}",
    ),
    ("  prod: {networks: [10.30.0.0/24], agents: {prod-1: {addresses: [10.30.0.10]}}}\n", ""),
    ("agents: {prod-1: {addresses: [10.30.0.10]}}", ""),
    ("dev-1", "dev-2"),
]


@pytest.mark.parametrize(("old", "new"), WITHOUT, ids=["source", "destination", "witness", "another source"])
@pytest.mark.parametrize("when", [Arm, Go, Close])
def test_a_topology_that_comes_in_the_course_of_a_round_takes_its_part_away_and_no_more(
    store: Store, old: str, new: str, when: type[Down]
) -> None:
    db = "services: {db: {hosts: [10.30.0.21], ports: [tcp/5432]}}"  # what stays when the agent goes
    text = TOPOLOGY.decode().replace("[10.30.0.0/24], ", f"[10.30.0.0/24], {db}, ")
    world = World(store, text.encode())
    changed = parse_topology(text.replace(old, new).encode())

    def comes(message: Down) -> None:
        if isinstance(message, when):
            world.estate.take_topology(changed)

    world.on_message = comes

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            for agent in ("dev-1", "test-1"):
                group.create_task(world.engine.cycle(agent, ("prod",), Schedule.CYCLE))

    run(scene())
    if "prod" in changed.environments:
        assert "test-1" in {key.agent for key in world.estate.matrix}, "the other source's round went through"
    if when is Arm:
        assert [agent for agent, m in world.sent if isinstance(m, Go)] == [
            agent for agent in ("dev-1", "test-1") if agent in changed.agents() and "prod" in changed.environments
        ], "nobody is sent off who is not in the topology, nor to where there is nothing"


def test_stop_goes_to_everybody_and_nothing_is_begun_until_resumed(store: Store) -> None:
    world = World(store)

    async def scene() -> None:
        await world.engine.stop("by hand")
        await world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE)
        assert [(agent, message) for agent, message in world.sent] == [
            (agent, Stop(reason="by hand")) for agent in ("dev-1", "test-1", "prod-1")
        ]
        await world.engine.resume()
        await world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE)
        assert world.kinds()[3:] == ROUND

    run(scene())


def test_what_a_round_saw_is_no_younger_than_its_beginning(store: Store) -> None:
    """A report may wait in a broker, or before a coordinator that stands still, while a firewall is opened."""
    world = World(store)

    def stands_still() -> None:
        world.now += 60.0

    world.on_go = stands_still
    run(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
    assert seen_at(world) == {1_000_000.0}
    report = world.reports[0]
    store.take("dev-1", "spool", 1, 1, [report], world.now)
    world.late(report)
    assert seen_at(world) == {1_000_000.0}


def seen_at(world: World) -> set[float]:
    """When the matrix says that its cells were observed."""
    return {judged.observed_at for key in world.estate.matrix for _, judged in world.estate.matrix.rows(key)}


def test_a_round_that_cannot_be_concluded_ends_nothing_and_proves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(rounds: Sequence[RoundData], *, pending: bool) -> Conclusion:
        if rounds[0].spec.destination == "test":
            raise ZeroDivisionError
        return conclude(rounds, pending=pending)

    monkeypatch.setattr("coordinator.state.concluding.conclude", broken)
    world = World(store)
    run(world.engine.cycle("dev-1", ("test", "prod"), Schedule.CYCLE))
    tried = {cell.key.destination for cell in world.estate.cells() if cell.judged is not None}
    assert tried == {"prod"}
