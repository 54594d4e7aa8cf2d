"""A round is of the processes that were asked: another that goes by the same name counts for nothing in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from coordinator.store import Report, Store
from reachability.observation import Observation, SourceReport, Target
from reachability.vocabulary import Protocol, Reason, Result, Role, Schedule, State
from tests.support.rounds import ANSWERED, TOPOLOGY, World
from tests.support.virtual import now, run
from wire.messages import Arm, Armed, Close, Done, Down, Go, Status
from wire.topics import UpChannel, UpTopic

INSIDE = TOPOLOGY.replace(
    b"{prod-1: {addresses: [10.30.0.10]}}}",
    b"{prod-1: {addresses: [10.30.0.10]}, prod-2: {addresses: [10.30.0.11]}}, "
    b"services: {db: {hosts: [10.30.0.21], ports: [tcp/5432]}}}",
)


class Named(World):
    """Agents that say which process they are. `said`: agent -> the process that answers, its own unless told otherwise."""

    def __init__(self, store: Store, topology: bytes = TOPOLOGY) -> None:
        self.said: dict[str, str] = {}
        self.reported: dict[str, str] = {}
        self.numbers = 0
        super().__init__(store, topology)
        self.controls = (ANSWERED,)
        self.not_ok: dict[str, tuple[str, ...]] = {}

    def online(self, name: str, online: bool = True, process: str = "1") -> None:  # noqa: FBT001, FBT002
        environment = self.estate.topology.agents()[name]
        self.numbers += 1
        status = Status(
            name=name, environment=environment, online=online, raw=True, rate_pps=1000, instance=f"{name}#{process}",
            number=self.numbers,
        )  # fmt: skip
        self.estate.take_status(UpTopic(environment, name, UpChannel.STATUS), status, retained=False)

    def _process(self, agent: str) -> str:
        return self.said.get(agent, f"{agent}#1")

    def _say(self, agent: str, message: Armed | Done) -> None:
        if isinstance(message, Armed) and agent in self.not_ok:
            message = msgspec.structs.replace(message, ok=False, problems=self.not_ok[agent])
        super()._say(agent, msgspec.structs.replace(message, instance=self._process(agent)))

    def _report(self, report: Report) -> None:
        report = replace(report, instance=self.reported.get(report.agent, self._process(report.agent)))
        number = len(self.everything) + 1
        self.estate.store.take(report.agent, "spool", number, number, [report], self.now)
        super()._report(report)

    def results(self) -> set[tuple[str, str]]:
        mine = ("dev-1", "10.30.0.10", Protocol.TCP)
        cells = [c for c in self.estate.cells() if (c.key.agent, c.key.address, c.key.protocol) == mine]
        return {(c.result, c.judged.verdict.reason if c.judged else "") for c in cells}

    def again(self) -> None:
        """All that it reported comes once more, from the spools."""
        self.late(*self.everything)


def cycle(world: World) -> float:
    async def scene() -> float:
        await world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE)
        return now()

    return run(scene())


PASSES = {(Result.PASS, "no-response")}


def test_a_round_in_which_each_is_one_process_is_proof(store: Store) -> None:
    world = Named(store)
    cycle(world)
    assert world.results() == PASSES
    world.again()
    assert world.results() == PASSES


@pytest.mark.parametrize("agent", ["dev-1", "prod-1"])
def test_a_report_of_another_process_than_the_one_that_was_asked_counts_for_nothing(store: Store, agent: str) -> None:
    """It was made at another start, or by whoever else holds its bundle."""
    world = Named(store)
    world.reported = {agent: f"{agent}#2"}
    cycle(world)
    world.again()
    assert Result.PASS not in {result for result, _ in world.results()}


@pytest.mark.parametrize(("agent", "when"), [("prod-1", Arm), ("dev-1", Go)])
def test_a_round_in_which_two_processes_of_one_name_spoke_counts_for_nothing(
    store: Store, agent: str, when: type[Down]
) -> None:
    world = Named(store)

    def another(message: Down) -> None:
        if isinstance(message, Go) and when is Arm:
            world.engine.answer(agent, Armed(round=message.round, agent=agent, ok=True, instance=f"{agent}#2"))
        if isinstance(message, Go) and when is Go:
            world.engine.answer(agent, Done(round=message.round, agent=agent, sequence=1, instance=f"{agent}#2"))

    world.on_message = another
    cycle(world)
    assert world.results() == {(Result.INCONCLUSIVE, "two-holders")}
    world.again()
    assert world.results() == {(Result.INCONCLUSIVE, "two-holders")}, "nor does it later, by what the store holds"


def twice(world: Named, agent: str) -> None:
    world.online(agent, process="2")
    world.online(agent)


@pytest.mark.parametrize("agent", ["dev-1", "prod-1"])
def test_two_holders_make_every_cell_inconclusive_with_a_word(store: Store, agent: str) -> None:
    world = Named(store)
    cycle(world)
    assert world.results() == PASSES
    twice(world, agent)
    assert world.results() == {(Result.INCONCLUSIVE, "two-holders")}, "what stands, at once"
    world.again()
    assert world.results() == {(Result.INCONCLUSIVE, "two-holders")}, "and what comes late of a round before"
    cycle(world)
    assert world.results() == {(Result.INCONCLUSIVE, "two-holders")}, "and what comes"
    world.estate.holders.forget(agent)
    world.again()
    assert world.results() == {(Result.INCONCLUSIVE, "two-holders")}, (
        "a report that comes late makes nothing of it green"
    )
    cycle(world)
    assert world.results() == PASSES, "a new bundle does"


def test_nobody_is_sent_off_or_armed_while_it_is_not_known_who_it_is(store: Store) -> None:
    world = Named(store)
    world.online("dev-1", process="2")
    cycle(world)
    assert world.sent == []
    world.online("dev-1", online=False)
    world.said = {"dev-1": "dev-1#2"}
    world.online("prod-1", process="2")
    cycle(world)
    assert world.kinds() == ["Go"], "its witness is not asked"
    assert {result for result, _ in world.results()} == {Result.INCONCLUSIVE}


def test_a_restart_without_a_word_is_waited_for_by_nobody_for_long(store: Store) -> None:
    world = Named(store)
    world.online("dev-1", process="2")
    world.online("dev-1", online=False)  # its last will
    world.said = {"dev-1": "dev-1#2"}
    cycle(world)
    assert world.results() == PASSES


def test_a_witness_that_says_that_it_does_not_listen_is_none_and_its_reason_is_said(store: Store) -> None:
    world = Named(store)
    world.not_ok = {"prod-1": ("256 rounds are armed here already",)}
    took = cycle(world)
    assert {result for result, _ in world.results()} == {Result.INCONCLUSIVE}
    (why,) = {
        c.judged.evidence.no_witness_why
        for c in world.estate.cells()
        if c.judged and (c.key.agent, c.key.address) == ("dev-1", "10.30.0.10")
    }
    assert why == "256 rounds are armed here already"
    assert took < 5.0, "it has answered, and is not waited for"


# -- inside -------------------------------------------------------------------------------------------------------


class Inside(Named):
    """Agents of prod control 10.30.0.21 from inside; `alive` is whether that answers still when it is asked again."""

    def __init__(self, store: Store, *, alive: bool = True, again: bool = True) -> None:
        super().__init__(store, INSIDE)
        self.alive, self.asks_again = alive, again
        self._inside: dict[tuple[str, str], SourceReport] = {}

    def _answer(self, agent: str, message: Down) -> None:
        if isinstance(message, Arm) and message.inside:
            asked = tuple(map(_closed, message.inside))
            report = SourceReport(round=message.round, agent=agent, role=Role.INSIDE, observations=asked)
            self._inside[message.round, agent] = report
            self._report(report)
        if isinstance(message, Close) and message.again and self.asks_again and (message.round, agent) in self._inside:
            report = replace(self._inside.pop((message.round, agent)), again=True)
            self._report(report if self.alive else replace(report, observations=()))
        if not isinstance(message, Close) or (message.round, agent) in self._targets:
            super()._answer(agent, message)

    def of_the_host(self) -> set[tuple[str, str]]:
        mine = ("dev-1", "10.30.0.21", Protocol.TCP)
        cells = [c for c in self.estate.cells() if (c.key.agent, c.key.address, c.key.protocol) == mine]
        return {(c.result, c.judged.verdict.reason if c.judged else "") for c in cells}


def _closed(target: Target) -> Observation:
    return Observation(
        target=target.id, source_address="10.30.0.11", address=target.address, protocol=target.protocol, state=State.CLOSED,
        reason=Reason.RESET, ports=target.ports, way="raw", sent=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Inside, PASSES),
        (lambda store: Inside(store, alive=False), {(Result.INCONCLUSIVE, "inside-once")}),
        (lambda store: Inside(store, again=False), {(Result.INCONCLUSIVE, "inside-once")}),
    ],
    ids=["it lives", "it died", "nobody asked"],
)
def test_who_is_controlled_from_inside_is_asked_again_after_the_source(
    store: Store, make: Callable[[Store], Inside], expected: set[tuple[str, str]]
) -> None:
    world = make(store)
    cycle(world)
    assert world.of_the_host() == expected


def test_nobody_is_asked_again_where_the_source_was_not_heard_to_be_done(store: Store) -> None:
    """It may send on, or may not have begun."""
    world = Inside(store)
    world.deaf = {"dev-1"}

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE))
            await asyncio.sleep(1.0)
            world.online("dev-1", online=False)

    run(scene())
    assert [m.again for _, m in world.sent if isinstance(m, Close)] == [False, False]


def test_nobody_is_asked_again_who_was_ready_after_the_source_had_gone(store: Store) -> None:
    """What it asked first was not before the source either."""
    world = Inside(store)
    world.deaf = {"prod-2"}
    cycle(world)
    assert {(agent, m.again) for agent, m in world.sent if isinstance(m, Close)} >= {
        ("prod-2", False),
        ("prod-1", True),
    }
    assert ("prod-2", True) not in {(agent, m.again) for agent, m in world.sent if isinstance(m, Close)}


def test_the_second_asking_is_waited_for(store: Store) -> None:
    """Else a host that lives is undecided until the next round."""
    world = Inside(store)
    answered = world._report

    def later(report: Report) -> None:
        if isinstance(report, SourceReport) and report.again:
            asyncio.get_running_loop().call_later(4.0, answered, report)
        else:
            answered(report)

    world._report = later  # type: ignore[method-assign]
    assert cycle(world) >= 4.0
    assert world.of_the_host() == PASSES
