"""The round engine with agents that are functions: what it asks of whom, in which order, and when one of them fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator import rounds
from coordinator.echo import Echo
from coordinator.estate import Estate
from coordinator.orders import Controls
from coordinator.rounds import Engine
from coordinator.store import Store
from coordinator.topology_file import parse_topology
from reachability.observation import Observation, SourceReport, Target, Untokened, WitnessHealth, WitnessReport
from reachability.vocabulary import Protocol, Reason, Result, RoundKind, State
from wire.messages import Arm, Armed, Close, Done, Down, Go, Status, Stop
from wire.topics import UpChannel, UpTopic

TOPOLOGY = b"""version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}
  test: {networks: [10.20.0.0/24], agents: {test-1: {addresses: [10.20.0.10]}}}
  prod: {networks: [10.30.0.0/24], agents: {prod-1: {addresses: [10.30.0.10]}}}
probing: {every: 60s, confirm: 1}
"""
ROUND = ["Arm", "Go", "Close"]


class World:
    """An engine and its agents. Every message that went down is in `sent`, as (agent, message)."""

    def __init__(self, store: Store) -> None:
        self.estate = Estate(parse_topology(TOPOLOGY), store, lambda: 1_000_000.0)
        for name in self.estate.topology.agents():
            self.online(name)
        self.engine = Engine(
            self.estate, self._post, Echo(), lambda: Controls(("10.0.0.1",), 8883), sleep=lambda _: asyncio.sleep(0)
        )
        self.sent: list[tuple[str, Down]] = []
        self.deaf: set[str] = set()
        self.untokened: tuple[Untokened, ...] = ()
        self.on_go: Callable[[], None] = lambda: None
        self._targets: dict[str, tuple[Target, ...]] = {}

    def online(self, name: str, online: bool = True) -> None:  # noqa: FBT001, FBT002 - a switch
        """An agent comes or goes."""
        environment = self.estate.topology.agents()[name]
        status = Status(name=name, environment=environment, online=online, raw=True, rate_pps=1000)
        self.estate.take_status(UpTopic(environment, name, UpChannel.STATUS), status, retained=False)

    def kinds(self) -> list[str]:
        """The messages by kind, in order."""
        return [type(message).__name__ for _, message in self.sent]

    def pairs(self) -> list[tuple[str, str]]:
        """(source, destination) of every round that a source was sent off to, in order."""
        return [(agent, m.targets[0].environment) for agent, m in self.sent if isinstance(m, Go)]

    async def _post(self, agent: str, body: Down) -> None:
        self.sent.append((agent, body))
        await asyncio.sleep(0)
        if agent not in self.deaf:
            asyncio.get_running_loop().call_soon(self._answer, agent, body)

    def _answer(self, agent: str, message: Down) -> None:
        if isinstance(message, Arm):
            self._targets[message.round] = message.targets
            self.engine.answer(agent, Armed(round=message.round, agent=agent, ok=True))
        elif isinstance(message, Go):
            self.on_go()
            seen = tuple(map(_silent, message.targets))
            self.engine.report(SourceReport(round=message.round, agent=agent, observations=seen), 1_000_000.0)
            self.engine.answer(agent, Done(round=message.round, agent=agent, sequence=1, tail_s=0.0))
        elif isinstance(message, Close):
            health = tuple(WitnessHealth(address=t.address, healthy=True) for t in self._targets[message.round])
            self.engine.report(
                WitnessReport(round=message.round, agent=agent, health=health, untokened=self.untokened), 1_000_000.0
            )


def _silent(target: Target) -> Observation:
    return Observation(
        target=target.id,
        source_address="10.10.0.10",
        address=target.address,
        protocol=target.protocol,
        state=State.FILTERED,
        reason=Reason.NO_RESPONSE,
        ports=target.ports,
        way="raw",
        sent=3,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "state")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ARM_S", "GONE_S", "REPORT_S"):
        monkeypatch.setattr(rounds, name, 0.02)


def run(scene: Coroutine[None, None, None]) -> None:
    """Play a scene; it ends by itself."""

    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scene

    asyncio.run(bounded())


def test_the_witness_is_armed_before_the_source_goes_and_closed_after(store: Store) -> None:
    world = World(store)
    run(world.engine.cycle("dev-1", ("test", "prod"), "cycle"))
    assert world.kinds() == ROUND * 2
    assert [agent for agent, _ in world.sent] == ["test-1", "dev-1", "test-1", "prod-1", "dev-1", "prod-1"]
    assert len({message.round for _, message in world.sent if isinstance(message, Arm | Go | Close)}) == 2


def test_strange_packets_at_a_probed_port_are_challenged_once(store: Store) -> None:
    world = World(store)
    world.untokened = (
        Untokened(
            address="10.30.0.10", protocol=Protocol.TCP, port=22, came_from="10.20.0.99", source_port=4711, count=1
        ),
    )
    run(world.engine.cycle("dev-1", ("prod",), "cycle"))
    gone = [m for _, m in world.sent if isinstance(m, Go)]
    assert [m.kind for m in gone] == [RoundKind.NORMAL, RoundKind.CHALLENGE]
    assert [(t.address, t.ports) for t in gone[1].targets] == [("10.30.0.10", "22")]


def test_the_rounds_that_cells_and_findings_stand_on_are_held(store: Store) -> None:
    world = World(store)
    run(world.engine.cycle("dev-1", ("prod",), "cycle"))
    run(world.engine.cycle("dev-1", ("prod",), "cycle"))
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
    run(world.engine.cycle("dev-1", ("test", "prod"), "cycle"))
    assert world.pairs() == [("dev-1", "test")]
    run(world.engine.cycle("dev-1", ("test", "prod"), "cycle", "run-1"))
    assert world.pairs()[1:] == [("dev-1", "test"), ("dev-1", "prod")]
    rows = [row for key in world.estate.matrix for row in world.estate.matrix.rows(key)]
    assert {judged.run for _, judged in rows} == {"run-1"}


def test_a_destination_is_in_one_round_at_a_time(store: Store) -> None:
    world = World(store)

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            for agent in ("dev-1", "test-1"):
                group.create_task(world.engine.cycle(agent, ("prod",), "cycle"))

    run(scene())
    assert sorted(world.pairs()) == [("dev-1", "prod"), ("test-1", "prod")]
    sending = [kind for kind in world.kinds() if kind != "Close"]
    assert sending == ["Arm", "Go", "Arm", "Go"], "the second was armed only after the first had sent"


def test_a_witness_that_does_not_answer_costs_its_own_cells_alone(store: Store) -> None:
    world = World(store)
    world.deaf = {"prod-1"}
    run(world.engine.cycle("dev-1", ("prod", "test"), "cycle"))
    assert world.pairs() == [("dev-1", "prod"), ("dev-1", "test")], "the source goes all the same"
    assert Result.PASS not in {c.result for c in world.estate.cells() if c.key.destination == "prod"}


def test_a_source_that_goes_away_leaves_no_cells(store: Store) -> None:
    world = World(store)
    world.deaf = {"dev-1"}

    async def leave() -> None:
        await asyncio.sleep(0.01)
        world.online("dev-1", online=False)

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(world.engine.cycle("dev-1", ("prod", "test"), "cycle"))
            group.create_task(leave())

    run(scene())
    assert world.pairs() == [("dev-1", "prod")], "the next round is not begun"
    assert len(world.estate.matrix) == 0


def test_stop_goes_to_everybody_and_nothing_is_begun_until_resumed(store: Store) -> None:
    world = World(store)

    async def scene() -> None:
        await world.engine.stop("by hand")
        await world.engine.cycle("dev-1", ("prod",), "cycle")
        assert [(agent, message) for agent, message in world.sent] == [
            (agent, Stop(reason="by hand")) for agent in ("dev-1", "test-1", "prod-1")
        ]
        world.engine.resume()
        await world.engine.cycle("dev-1", ("prod",), "cycle")
        assert world.kinds()[3:] == ROUND

    run(scene())
