"""A topology that comes in mid-round ends what it touches as not-run, and disturbs no other round."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from unittest.mock import Mock

import pytest

from coordinator.rounds.scheduler import destinations_for
from coordinator.rounds.verify_runs import Run, Runs, RunState
from coordinator.state.estate import Estate
from coordinator.state.in_force import put_in_force
from coordinator.store import Report, Store, StoreError
from coordinator.topology.load import parse_topology
from reachability.observation import SourceReport
from reachability.vocabulary import Protocol, Result, Schedule
from tests.support.rounds import ANSWERED, World
from tests.support.virtual import run
from tests.support.waiting import until
from wire.messages import Arm, Close, Down, Go

TOPOLOGY = b"""version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}
  test: {networks: [10.20.0.0/24], agents: {test-1: {addresses: [10.20.0.10]}}}
  stage: {networks: [10.40.0.0/24], agents: {stage-1: {addresses: [10.40.0.10]}}}
  prod:
    networks: [10.30.0.0/24]
    agents: {prod-1: {addresses: [10.30.0.10]}, prod-2: {addresses: [10.30.0.11]}}
    services: {db: {hosts: [10.30.0.21], ports: [tcp/5432]}}
probing: {every: 60s, confirm: 1}
"""
MOVED = (
    TOPOLOGY.replace(b"prod-1: {addresses: [10.30.0.10]}", b"prod-1: {addresses: [10.30.0.12]}")
    .replace(b"10.30.0.11", b"10.30.0.10")
)  # fmt: skip
REMOVED = TOPOLOGY.replace(b"prod-1: {addresses: [10.30.0.10]}, ", b"")
ON_A_SERVICE = REMOVED.replace(b"[10.30.0.21]", b"[10.30.0.21, 10.30.0.10]")
RENAMED = TOPOLOGY.replace(b"  prod:", b"  production:")
SOURCE_REMOVED = TOPOLOGY.replace(b"dev-1: {addresses: [10.10.0.10]}", b"dev-2: {addresses: [10.10.0.10]}")
SOURCE_RENAMED = TOPOLOGY.replace(b"  dev:", b"  lab:")
WIDER = TOPOLOGY.replace(b"[10.10.0.0/24]", b"[10.10.0.0/24, 10.11.0.0/24]")
NARROWER = TOPOLOGY.replace(b"[10.30.0.0/24]", b"[10.30.0.0/25]")
TAKEN_OUT = TOPOLOGY.replace(b"{stage-1: {addresses: [10.40.0.10]}}", b"{}")
TO_ITS_SOURCE = TAKEN_OUT.replace(b"agents: {dev-1:", b"agents: {stage-1: {addresses: [10.10.0.11]}, dev-1:")
TO_ITS_DESTINATION = TAKEN_OUT.replace(b"agents: {prod-1:", b"agents: {stage-1: {addresses: [10.30.0.12]}, prod-1:")
FROM_ELSEWHERE = TAKEN_OUT.replace(b"agents: {test-1:", b"agents: {stage-1: {addresses: [10.20.0.11]}, test-1:")
ONE_MORE = TOPOLOGY.replace(b"agents: {dev-1:", b"agents: {dev-2: {addresses: [10.10.0.11]}, dev-1:")
HOST = "10.30.0.10"


class Reloaded(World):
    """A topology comes in when `at` goes down to `to` for the first time."""

    def __init__(self, store: Store, text: bytes = MOVED, at: type[Down] = Go, to: str = "") -> None:
        super().__init__(store, TOPOLOGY)
        self._text, self._at, self._to, self.came = text, at, to, False

    async def _post(self, agent: str, body: Down) -> None:
        if not self.came and isinstance(body, self._at) and self._to in {"", agent}:
            self.reload()
        await super()._post(agent, body)

    def reload(self, text: bytes = b"") -> None:
        self.came = True
        self.estate.take_topology(parse_topology(text or self._text))

    def _report(self, report: Report) -> None:
        if isinstance(report, SourceReport):  # the coordinator answers each of them
            mine = {seen.source_address for seen in report.observations}
            controls = tuple(replace(ANSWERED, source_address=address) for address in mine)
            report = replace(report, controls=controls)
        super()._report(report)

    def results(self, address: str = HOST, agent: str = "dev-1") -> set[Result]:
        mine = (agent, address, Protocol.TCP)
        return {c.result for c in self.estate.cells() if (c.key.agent, c.key.address, c.key.protocol) == mine}

    def cycle(self, *pairs: tuple[str, tuple[str, ...]]) -> None:
        async def scene() -> None:
            async with asyncio.TaskGroup() as group:
                for agent, there in pairs or (("dev-1", ("prod",)),):
                    group.create_task(self.engine.cycle(agent, there, Schedule.CYCLE))

        run(scene())

    def again(self) -> None:
        """All that was reported comes once more, from the spools."""
        for number, report in enumerate(list(self.everything), 1):
            self.estate.store.take(report.agent, "spool", number, number, [report], self.now)
            self.engine.report(report)


@pytest.mark.parametrize("at", [Arm, Go, Close])
def test_an_address_that_moved_to_another_agent_is_not_run_by_its_former_witness(store: Store, at: type[Down]) -> None:
    world = Reloaded(store, at=at)
    world.cycle()
    assert world.results() == {Result.NOT_RUN}
    world.again()
    assert world.results() == {Result.NOT_RUN}, "nor by what comes late"
    world.now += 60
    world.cycle()
    assert world.results() == {Result.PASS}, "its new witness proves it"


def test_what_was_proven_before_it_moved_is_not_proven_of_its_new_host(store: Store) -> None:
    world = Reloaded(store)
    world.came = True
    world.cycle()
    assert world.results() == {Result.PASS}
    world.reload()
    assert world.results() == {Result.NOT_RUN}
    world.reload(TOPOLOGY)
    assert world.results() == {Result.PASS}, "an edit that is taken back leaves what was proven"


@pytest.mark.parametrize("at", [Arm, Go, Close])
@pytest.mark.parametrize(
    ("text", "cells", "others"),
    [
        (REMOVED, set(), {Result.PASS}),
        (ON_A_SERVICE, {Result.NOT_RUN}, {Result.PASS}),
        (RENAMED, {Result.NOT_RUN}, {Result.NOT_RUN}),
        (SOURCE_REMOVED, set(), {Result.PASS}),
        (SOURCE_RENAMED, {Result.NOT_RUN}, {Result.PASS}),
        (WIDER, {Result.NOT_RUN}, {Result.PASS}),
        (NARROWER, {Result.NOT_RUN}, {Result.NOT_RUN}),
        (TO_ITS_SOURCE, {Result.NOT_RUN}, {Result.PASS}),
        (TO_ITS_DESTINATION, {Result.NOT_RUN}, {Result.NOT_RUN}),
        (FROM_ELSEWHERE, {Result.PASS}, {Result.NOT_RUN}),
        (TAKEN_OUT, {Result.PASS}, {Result.PASS}),
        (ONE_MORE, {Result.PASS}, {Result.PASS}),
    ],
    ids=[
        "witness removed",
        "witness removed, its host stays",
        "renamed",
        "source removed",
        "source renamed",
        "its source is wider",
        "its destination is narrower",
        "one moves to its source",
        "one moves to its destination",
        "one moves elsewhere",
        "one is taken out",
        "one more",
    ],
)
def test_what_a_reload_touches_is_not_run_and_no_other_round_is_disturbed(
    store: Store, text: bytes, cells: set[Result], others: set[Result], at: type[Down]
) -> None:
    """The other round has the same reload in its midst."""
    world = Reloaded(store, text, at)
    world.cycle(("dev-1", ("prod",)), ("prod-2", ("test",)))
    assert world.came
    assert world.results() == cells
    world.again()
    assert world.results() == cells
    assert world.results("10.20.0.10", "prod-2") == others
    assert not world.engine._live


@pytest.mark.parametrize("again", ["reload", "restart"])
@pytest.mark.parametrize(
    ("texts", "back"),
    [
        ((WIDER,), Result.PASS),
        ((NARROWER,), Result.PASS),
        ((TO_ITS_SOURCE,), Result.NOT_RUN),
        ((TO_ITS_DESTINATION,), Result.NOT_RUN),
        ((TAKEN_OUT, TO_ITS_SOURCE), Result.NOT_RUN),
    ],
    ids=["wider", "narrower", "one moves to its source", "to its destination", "in two steps"],
)
def test_what_leaned_on_who_was_inside_is_not_run_where_others_are_until_it_is_tried_again(
    store: Store, texts: tuple[bytes, ...], back: Result, again: str
) -> None:
    world = Reloaded(store)
    world.came = True
    world.cycle()
    assert world.results() == {Result.PASS}
    for text in texts:
        world.reload(text)
    assert world.results() == {Result.NOT_RUN}
    if again == "restart":
        world = Reloaded(store)
        world.came = True
        world.reload(texts[-1])
        assert world.results() == {Result.NOT_RUN}
    world.reload(TOPOLOGY)
    assert world.results() == {back}, "who has moved may have been moved; a list of networks was only read otherwise"
    world.now += 60
    world.cycle()
    assert world.results() == {Result.PASS}


@pytest.mark.parametrize("text", [WIDER, TO_ITS_SOURCE])
def test_a_plan_that_is_made_before_its_topology_is_in_force_knows_who_moves_by_it(store: Store, text: bytes) -> None:
    world = Reloaded(store)
    world.came = True
    world.cycle()
    asyncio.run(put_in_force(parse_topology(text), world.estate))
    assert world.results() == {Result.NOT_RUN}
    world.now += 60
    world.cycle()
    assert world.results() == {Result.PASS}


@pytest.mark.parametrize("text", [WIDER, TO_ITS_SOURCE])
def test_a_topology_that_changed_while_the_coordinator_was_away_is_one_that_came_in(store: Store, text: bytes) -> None:
    before = Reloaded(store)
    before.came = True
    before.cycle()
    estate = Estate(parse_topology(text), store, lambda: before.now)
    mine = [c.result for c in estate.cells() if (c.key.agent, c.key.address) == ("dev-1", HOST) and c.required]
    assert set(mine) == {Result.NOT_RUN}


def test_a_move_that_a_full_disk_did_not_take_is_told_apart_from_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Reloaded(store)
    with monkeypatch.context() as full:
        full.setattr(store, "put", Mock(side_effect=StoreError("disk full")))
        world.reload(TO_ITS_SOURCE)
    assert world.estate.problem == "disk full"
    lost = dict(world.estate.moves.last)
    after = Estate(parse_topology(TO_ITS_SOURCE), store, lambda: world.now)
    assert after.moves.last.keys() == lost.keys() == {"dev", "stage"}
    assert not set(after.moves.last.values()) & set(lost.values())
    run(world.estate.forget())
    assert Estate(parse_topology(TO_ITS_SOURCE), store, lambda: world.now).moves.last == lost, "there is room again"


@pytest.mark.parametrize(("text", "other"), [(REMOVED, True), (MOVED, False)], ids=["removed", "moved"])
def test_a_round_that_waited_for_its_turn_keeps_to_the_topology_of_its_turn(
    store: Store,
    text: bytes,
    other: bool,  # noqa: FBT001 - of a table
) -> None:
    world = Reloaded(store, text, Go, "test-1")
    world.cycle(("test-1", ("prod",)), ("dev-1", ("prod",)))
    asked = {
        target.address for agent, m in world.sent if agent == "dev-1" and isinstance(m, Go) for target in m.targets
    }
    assert HOST not in asked, "what has left the topology, or has another witness, is not probed any more"
    assert ("10.30.0.11" in asked) is other
    assert "10.30.0.21" in asked


@pytest.mark.parametrize("at", [Arm, Go])
def test_a_round_is_not_sent_with_the_controls_of_another_layout(store: Store, at: type[Down]) -> None:
    """Taken back, the list of networks is the one that the round began with."""
    world = Reloaded(store, WIDER, at, "test-1" if at is Go else "prod-2")
    world.cycle(*((("test-1", ("prod",)),) if at is Go else ()), ("dev-1", ("prod",)))
    world.reload(TOPOLOGY)
    assert not [m for agent, m in world.sent if agent == "dev-1" and isinstance(m, Go)]
    assert world.results() == {Result.NOT_RUN}


def test_the_next_pair_of_a_cycle_keeps_to_the_topology_of_its_turn(store: Store) -> None:
    world = Reloaded(store, MOVED, at=Go)
    world.cycle(("dev-1", ("test", "prod")))
    assert world.results() == {Result.PASS}


def test_an_agent_that_another_environment_has_now_is_not_there_until_it_says_so(store: Store) -> None:
    world = Reloaded(store, SOURCE_RENAMED)
    world.reload()
    assert (world.estate.agents["dev-1"].environment, world.estate.online("dev-1")) == ("lab", False)
    assert set(destinations_for(world.estate, "dev-1")) == {"test", "stage", "prod"}


@pytest.mark.parametrize("before", [False, True])
def test_a_verify_run_goes_on_through_a_reload_and_judges_by_the_new_topology(store: Store, before: bool) -> None:  # noqa: FBT001
    world = Reloaded(store, SOURCE_RENAMED, Go, "dev-1")
    if before:
        world.reload()

    async def scene() -> Run:
        runs = Runs(world.estate, world.engine, steady=asyncio.get_running_loop().time)
        asked = runs.get(runs.ask(sweep=False, source=None, destination=None))
        assert asked is not None
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(runs.serve(), name="runs")
            await until(lambda: asked.state is RunState.FINISHED)
            serving.cancel()
        return asked

    done = run(scene())
    assert done.error == ""
    assert done.held is not None
    found = {(cell.source_environment, cell.result) for cell in done.held.cells}
    assert {result for source, result in found if source == "lab"} == {Result.NOT_RUN}
    assert ("test", Result.PASS) in found
