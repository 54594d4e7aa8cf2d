"""How long a round waits for whom, on virtual time: agents that are slow, late, gone, or say what is not so."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator.rounds import requests
from coordinator.store import Report, Store
from reachability.observation import SourceReport
from reachability.vocabulary import Protocol, Result
from tests.support.virtual import now, run
from tests.unit.coordinator.rounds.test_engine import ANSWERED, TOPOLOGY, World
from wire.messages import Arm, Close, Done, Down, Go, Resolve, Resolved

TWO_WITNESSES = TOPOLOGY.replace(
    b"{prod-1: {addresses: [10.30.0.10]}}", b"{prod-1: {addresses: [10.30.0.10]}, prod-2: {addresses: [10.30.0.11]}}"
)
NAMED = TOPOLOGY.replace(
    b"{prod-1: {addresses: [10.30.0.10]}}}",
    b"{prod-1: {addresses: [10.30.0.10]}}, services: {db: {hosts: [db.prod.internal], ports: [tcp/5432]}}}",
)
NEVER = math.inf


class Slow(World):
    """Agents that take as long for an order as `takes` says. What they report is stored first, as the collector does."""

    def __init__(self, store: Store, topology: bytes = TOPOLOGY) -> None:
        super().__init__(store, topology)
        self.controls, self.tail_s = (ANSWERED,), 2.0
        self.takes: dict[tuple[str, type[Down]], float] = {}

    def _answer(self, agent: str, message: Down) -> None:
        delay_s = self.takes.get((agent, type(message)), 0.0)
        if delay_s < NEVER:
            asyncio.get_running_loop().call_later(delay_s, super()._answer, agent, message)

    def _report(self, report: Report) -> None:
        number = len(self.everything) + 1
        self.estate.store.take(report.agent, "spool", number, number, [report], self.now)
        super()._report(report)

    def at(self, kind: type[Down]) -> list[float]:
        """When such messages went down."""
        return [at for at, (_, message) in zip(self.times, self.sent, strict=True) if isinstance(message, kind)]

    def results(self, address: str = "10.30.0.10") -> set[Result]:
        """Of dev's cells at an address in prod over TCP."""
        mine = ("dev-1", address, Protocol.TCP)
        return {c.result for c in self.estate.cells() if (c.key.agent, c.key.address, c.key.protocol) == mine}

    def cycle(self, agent: str = "dev-1", *destinations: str) -> float:
        """A cycle of its own; how long it took."""

        async def scene() -> float:
            await self.engine.cycle(agent, destinations or ("prod",), "cycle")
            return now()

        return run(scene())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "state")
    yield made
    made.close()


@pytest.fixture
def world(store: Store) -> Slow:
    return Slow(store)


def about(seconds: float) -> object:
    return pytest.approx(seconds, rel=0, abs=0.01)


# -- arming -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("takes_s", [0.0, 0.7, 4.9])
def test_the_source_goes_as_soon_as_all_are_armed(world: Slow, takes_s: float) -> None:
    world.takes["prod-1", Arm] = takes_s
    world.cycle()
    assert world.at(Go) == [about(takes_s)]
    assert world.results() == {Result.PASS}


def is_warm(world: Slow) -> None:
    """prod-1's packet child is there: the next order is answered at once."""
    world.takes["prod-1", Arm] = 0.0


@pytest.mark.parametrize("takes_s", [5.1, 6.5, 19.9])
def test_one_whose_packet_child_starts_slowly_is_waited_for_and_the_round_begun_again(
    world: Slow, takes_s: float
) -> None:
    world.takes["prod-1", Arm] = takes_s
    at(world, 1.0, lambda: is_warm(world))
    world.cycle()
    first, *_, again = [message.round for _, message in world.sent if isinstance(message, Arm)]
    (go,) = [message for _, message in world.sent if isinstance(message, Go)]
    closed = [message.round for _, message in world.sent if isinstance(message, Close)]
    assert world.at(Go) == [about(takes_s)]
    assert first != again == go.round, "what was asked from inside so long ago is no control of this"
    assert first in closed
    assert again in closed
    assert world.results() == {Result.PASS}


@pytest.mark.parametrize("takes_s", [25.1, NEVER])
def test_after_its_time_it_goes_without_those_that_are_missing(world: Slow, takes_s: float) -> None:
    world.takes["prod-1", Arm] = takes_s
    world.takes["dev-1", Go] = 3.0
    world.cycle()
    assert world.at(Go) == [about(25.0)]
    assert world.results() == {Result.INCONCLUSIVE}, "who is armed after the source had gone is no witness"


def test_who_was_waited_for_in_vain_is_given_five_seconds_until_it_is_ready_again(world: Slow) -> None:
    world.takes["prod-1", Arm] = NEVER
    world.cycle()
    took = []
    for takes_s in (NEVER, 6.0, 4.9):
        world.takes["prod-1", Arm] = takes_s
        begun = world.at(Arm)
        world.cycle()
        took.append(world.at(Go)[-1] - world.at(Arm)[len(begun)])
    assert took == [about(5.0), about(5.0), about(4.9)]
    world.takes["prod-1", Arm] = 8.0
    at(world, 1.0, lambda: is_warm(world))
    world.cycle()
    assert world.at(Go)[-1] == about(8.0)


def test_who_has_gone_is_not_waited_for(world: Slow) -> None:
    world.takes["prod-1", Arm] = NEVER
    at(world, 6.0, lambda: world.online("prod-1", online=False))
    world.cycle()
    assert world.at(Go) == [pytest.approx(6.0, abs=0.51)]


def test_one_that_is_missing_takes_nothing_from_the_others(store: Store) -> None:
    world = Slow(store, TWO_WITNESSES)
    world.takes["prod-2", Arm] = NEVER
    world.cycle()
    assert (world.results("10.30.0.10"), world.results("10.30.0.11")) == ({Result.PASS}, {Result.INCONCLUSIVE})


# -- the source, and the tail -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail_s", [0.5, 2.0, 3.2, 29.0])
def test_the_witness_is_closed_the_tail_after_the_source_is_done(world: Slow, tail_s: float) -> None:
    world.takes["dev-1", Go] = 7.0
    world.tail_s = tail_s
    world.cycle()
    assert world.at(Close) == [about(7.0 + tail_s)]
    assert world.results() == {Result.PASS}


@pytest.mark.parametrize(
    ("claimed_s", "tail_s"), [(1e9, 30.0), (math.inf, 30.0), (-1e9, 0.2), (-math.inf, 0.2), (math.nan, 0.2)]
)
def test_a_source_that_claims_huge_durations_does_not_hold_the_round(
    world: Slow, claimed_s: float, tail_s: float
) -> None:
    world.tail_s = claimed_s
    world.on_go = lambda: world.engine.report(
        SourceReport(round=round_of(world), agent="dev-1", duration_s=claimed_s, slot_ms=claimed_s)
    )
    assert world.cycle() == about(tail_s)


def round_of(world: World) -> str:
    return next(message.round for _, message in world.sent if isinstance(message, Go))


def test_a_source_that_is_never_done_ends_at_the_coordinators_deadline(world: Slow) -> None:
    """And what its witness did not see proves nothing, though the source's report came in time."""
    world.takes["dev-1", Go] = NEVER
    world.on_message = lambda message: reports_and_goes_on(world) if isinstance(message, Go) else None
    world.cycle()
    (go,) = [message for _, message in world.sent if isinstance(message, Go)]
    deadline_s = requests.patience_s(go, world.estate.agents["dev-1"], world.estate.topology.probing)
    assert 40.0 <= deadline_s < 120.0
    assert world.at(Close) == [about(deadline_s)]
    assert world.results() == {Result.INCONCLUSIVE}


def reports_and_goes_on(world: Slow) -> None:
    """Its source does not say that it is done."""
    go = next(message for _, message in world.sent if isinstance(message, Go))
    answer, world.engine.answer = world.engine.answer, lambda *_: None  # type: ignore[method-assign]
    World._answer(world, "dev-1", go)
    world.engine.answer = answer  # type: ignore[method-assign]


def test_a_source_that_is_gone_for_three_seconds_ends_its_round_and_the_rest_of_its_cycle(world: Slow) -> None:
    world.takes["dev-1", Go] = NEVER
    at(world, 1.0, lambda: world.online("dev-1", online=False))
    world.cycle("dev-1", "prod", "test")
    assert 4.0 <= world.at(Close)[0] <= 4.51, "it is looked at every half second"
    assert world.pairs() == [("dev-1", "prod")]
    assert len(world.estate.matrix) == 0


def test_a_source_that_comes_back_soon_has_lost_nothing(world: Slow) -> None:
    world.takes["dev-1", Go] = 8.0
    for away_at in (1.0, 4.0):
        at(world, away_at, lambda: world.online("dev-1", online=False))
        at(world, away_at + 2.4, lambda: world.online("dev-1"))
    world.cycle()
    assert world.at(Close) == [about(10.0)]
    assert world.results() == {Result.PASS}


def at(world: Slow, seconds: float, happens: Callable[[], None]) -> None:
    """Let something happen so long after the first order of the scene."""
    before, begun = world.on_message, False

    def message(body: Down) -> None:
        nonlocal begun
        if not begun:
            begun = True
            asyncio.get_running_loop().call_later(seconds, happens)
        before(body)

    world.on_message = message


# -- reports ------------------------------------------------------------------------------------------------------


def test_a_round_is_over_once_all_reports_are_in(world: Slow) -> None:
    world.takes["prod-1", Close] = 9.0
    assert world.cycle() == about(2.0 + 9.0)
    assert world.results() == {Result.PASS}


def test_a_report_that_comes_after_its_round_is_judged_then(world: Slow) -> None:
    world.takes["prod-1", Close] = 11.0

    async def scene() -> None:
        await world.engine.cycle("dev-1", ("prod",), "cycle")
        assert now() == about(2.0 + 10.0)
        assert world.results() == {Result.INCONCLUSIVE}
        await asyncio.sleep(1.1)
        assert world.results() == {Result.PASS}

    run(scene())


def test_a_witness_that_dies_in_the_middle_ends_the_round_for_its_own_cells_only(store: Store) -> None:
    world = Slow(store, TWO_WITNESSES)
    world.takes["dev-1", Go] = 3.0
    world.takes["prod-2", Close] = NEVER
    at(world, 1.0, lambda: world.online("prod-2", online=False))
    assert world.cycle() <= 5.01 + 10.0, "at the latest when all have had their time to report"
    assert world.at(Go) == [about(0.0)]
    assert world.at(Close) == [about(5.0)] * 2, "nobody waits for it"
    assert (world.results("10.30.0.10"), world.results("10.30.0.11")) == ({Result.PASS}, {Result.INCONCLUSIVE})


def test_nobody_waits_for_the_report_of_a_witness_that_is_gone(world: Slow) -> None:
    world.takes["prod-1", Close] = NEVER
    at(world, 1.0, lambda: world.online("prod-1", online=False))
    assert world.cycle() == about(2.0)


# -- stop ---------------------------------------------------------------------------------------------------------


def test_a_stop_ends_every_round_whatever_it_waits_for(world: Slow) -> None:
    world.takes = {("prod-1", Arm): NEVER, ("prod-1", Go): NEVER, ("dev-1", Close): NEVER}
    ended: dict[str, float] = {}

    async def cycle(agent: str, destination: str) -> None:
        await world.engine.cycle(agent, (destination,), "cycle")
        ended[f"{agent} to {destination}"] = now()

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            for agent, destination in PAIRS:
                group.create_task(cycle(agent, destination), name=agent)
            await asyncio.sleep(3.2)
            assert not ended
            await world.engine.stop("by hand")

    run(scene())
    assert len(ended) == len(PAIRS)
    assert max(ended.values()) <= 3.2 + 0.51, "it is looked at every half second"
    after = [message for when, (_, message) in zip(world.times, world.sent, strict=True) if when > 3.2]
    assert not [message for message in after if isinstance(message, Arm | Go)]
    assert len(world.estate.matrix) == 0, "what was stopped is not judged"


PAIRS = [
    ("dev-1", "prod"),  # its witness is not armed
    ("prod-1", "test"),  # the source is not done
    ("test-1", "dev"),  # its witness has not reported
    ("test-1", "prod"),  # others have its destination
]


# -- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("takes_s", "begins_s"), [(0.0, 0.0), (7.9, 7.9), (8.1, 8.0), (NEVER, 8.0)])
def test_a_cycle_waits_eight_seconds_for_what_names_lead_to(store: Store, takes_s: float, begins_s: float) -> None:
    world = Slow(store, NAMED)
    world.takes["dev-1", Go] = NEVER

    def answers(message: Down) -> None:
        if isinstance(message, Resolve) and takes_s < NEVER:
            resolved = Resolved(id=message.id, lookups=())
            asyncio.get_running_loop().call_later(takes_s, world.engine.answer, "dev-1", resolved)

    world.on_message = answers
    world.cycle()
    assert world.at(Arm) == [about(begins_s)]


def test_done_is_believed_of_the_source_alone(world: Slow) -> None:
    world.takes["dev-1", Go] = 4.0
    lie = Done(round="", agent="prod-1", sequence=1, tail_s=0.0)
    at(world, 1.0, lambda: world.engine.answer("prod-1", replaced(lie, round_of(world))))
    world.cycle()
    assert world.at(Close) == [about(6.0)]


def replaced(done: Done, round_id: str) -> Done:
    return Done(round=round_id, agent=done.agent, sequence=done.sequence, tail_s=done.tail_s)
