"""Matrix and findings are worked out in a thread: what happens meanwhile is in what comes of it, and nobody sees the half."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import pytest

from coordinator.state import estate as estates
from coordinator.state.concluding import JudgedRow
from coordinator.state.estate import Estate
from coordinator.state.reviewing import Moment, Reviewed, reviewed
from coordinator.topology.load import parse_topology
from reachability.compare import key_of
from reachability.finding import Event, EventKind
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.vocabulary import Protocol, RoundKind, Schedule, State
from tests.support.coordinator import NOW, TOPOLOGY, Coordinator
from tests.support.sample import evidence, judged
from tests.support.virtual import run
from tests.support.waiting import HANG_S

SPEC = RoundSpec(
    round="R1", kind=RoundKind.NORMAL, schedule=Schedule.CYCLE, source="dev-1", source_environment="dev", destination="prod",
    targets=(),
)  # fmt: skip


class Reviews:
    """The first review waits in its thread for `go_on`. `times` counts all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on, self.times = threading.Event(), threading.Event(), 0
        monkeypatch.setattr(estates, "reviewed", self._reviewed)

    def _reviewed(self, moment: Moment, rows: Sequence[JudgedRow], at: float) -> Reviewed:
        self.times += 1
        found = reviewed(moment, rows, at)
        if self.times == 1:
            self.begun.set()
            assert self.go_on.wait(HANG_S)
        return found

    def play(self, asked: Coroutine[Any, Any, Any], meanwhile: Callable[[], Awaitable[None]]) -> Any:
        """What comes of it, and what happens while its thread is at it."""

        async def scene() -> Any:
            async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
                task = group.create_task(asked, name="review")
                assert await asyncio.to_thread(self.begun.wait, HANG_S)
                await meanwhile()
                self.go_on.set()
                return await task

        return asyncio.run(scene())


def rows_of(estate: Estate, state: State, name: str) -> list[JudgedRow]:
    """Port 22 of prod from dev."""
    target = next(t for t in estate.plan if t.agent == "dev-1" and t.protocol is Protocol.TCP and t.cycle and t.address)
    return [JudgedRow(key_of(target), PortSet.of([22]), judged(evidence(target, state), name, run="", at=NOW))]


def told(events: Sequence[Event]) -> list[tuple[str, str]]:
    return [(event.what.value, event.text if event.what is EventKind.ACKNOWLEDGED else "") for event in events]


@pytest.fixture
def begun(world: Coordinator) -> Coordinator:
    world.store.start_round(SPEC, "R1", NOW)
    return world


def test_all_of_a_round_is_seen_at_once(begun: Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    estate, reviews = begun.estate, Reviews(monkeypatch)

    async def meanwhile() -> None:
        assert (set(estate.matrix), estate.book.findings, begun.store.cells()) == (set(), (), [])

    rows = rows_of(estate, State.OPEN, "R1")
    events = reviews.play(estate.take_judged(SPEC, rows), meanwhile)
    assert told(events) == [("opened", "")]
    assert set(estate.matrix) == {rows[0].key} == {key for key, _, _ in begun.store.cells()}
    assert begun.store.findings() == list(estate.book.findings)
    assert reviews.times == 1


def test_a_finding_that_a_person_takes_on_meanwhile_stays_taken_on(
    begun: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    estate = begun.estate
    [opened] = run(estate.take_judged(SPEC, rows_of(estate, State.OPEN, "R1"))) or ()
    reviews = Reviews(monkeypatch)

    async def meanwhile() -> None:
        await estate.acknowledge(opened.finding, "ada", "looking")

    assert reviews.play(estate.review(), meanwhile) == ()
    assert [finding.status.value for finding in estate.book.findings] == ["acknowledged"]
    assert told(begun.store.events()) == [("opened", ""), ("acknowledged", "looking")]
    assert reviews.times == 2


def test_a_topology_and_a_clock_that_change_meanwhile_hold_for_what_comes_out(
    begun: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    estate, reviews = begun.estate, Reviews(monkeypatch)

    async def meanwhile() -> None:
        estate.take_topology(parse_topology(TOPOLOGY.replace("every: 60s", "every: 90s").encode()))
        begun.now += 3600.0
        estate.clock_stepped(3600.0)

    rows = rows_of(estate, State.OPEN, "R1")
    reviews.play(estate.take_judged(SPEC, rows), meanwhile)
    assert [row.observed_at for _, row in estate.matrix.rows(rows[0].key)] == [NOW + 3600.0]
    assert reviews.times == 2


def test_what_is_doubted_meanwhile_is_not_taken(begun: Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    estate, reviews = begun.estate, Reviews(monkeypatch)
    stands = [True]

    async def meanwhile() -> None:
        stands.clear()

    assert (
        reviews.play(estate.take_judged(SPEC, rows_of(estate, State.OPEN, "R1"), lambda: bool(stands)), meanwhile)
        is None
    )
    assert (set(estate.matrix), estate.book.findings) == (set(), ())


def test_what_happens_while_a_full_disk_is_tried_is_written_after_what_it_did_not_take(
    begun: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    estate, begins, go_on = begun.estate, threading.Event(), threading.Event()
    put = begun.store.put_cells

    def slow(*args: Any) -> None:
        begins.set()
        assert go_on.wait(HANG_S)
        put(*args)

    async def scene() -> None:
        rows = rows_of(estate, State.OPEN, "R1")
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            task = group.create_task(estate.take_judged(SPEC, rows), name="take")
            assert await asyncio.to_thread(begins.wait, HANG_S)
            estate.note(EventKind.STOPPED, "enough", "olga")
            assert estate.problem == "", "the loop tries no disk that a thread is at"
            go_on.set()
            assert told(await task or ()) == [("opened", "")]
            assert "cannot be written" in estate.problem

    with monkeypatch.context() as patched, begun.full_disk():
        patched.setattr(begun.store, "put_cells", slow)
        asyncio.run(scene())
    assert begun.store.events() == []
    run(estate.review())
    assert told(begun.store.events()) == [("opened", ""), ("stopped", "")]
    assert len(begun.store.cells()) == 1
    assert estate.problem == ""


def test_who_changes_something_all_the_time_puts_off_no_round(
    begun: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    estate, times = begun.estate, 0

    def disturbed(moment: Moment, rows: Sequence[JudgedRow], at: float) -> Reviewed:
        nonlocal times
        times += 1
        found = reviewed(moment, rows, at)
        if threading.current_thread() is not threading.main_thread():
            assert times < 100, "put off for ever"
            estate.plan = (*estate.plan,)[:-1] if times % 2 else (*estate.plan, estate.plan[0])
        return found

    monkeypatch.setattr(estates, "reviewed", disturbed)
    events = asyncio.run(estate.take_judged(SPEC, rows_of(estate, State.OPEN, "R1")))
    assert told(events or ()) == [("opened", "")]
