"""Whether rounds go on, for the watchdog, and that what is logged on their way carries their id."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import structlog
from structlog.contextvars import merge_contextvars
from structlog.testing import LogCapture

from coordinator.store import Store
from reachability.arrival import Untokened
from reachability.vocabulary import Protocol, RoundKind, Schedule
from tests.support.rounds import World
from tests.support.virtual import run
from wire.messages import Down, Go, Stop
from wire.process.progress import PART_S

LOG = structlog.get_logger("on the way")


@pytest.fixture
def logged() -> Iterator[LogCapture]:
    capture = LogCapture()
    structlog.configure(processors=[merge_contextvars, capture])
    yield capture
    structlog.reset_defaults()


def test_a_round_that_waits_for_a_slow_source_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.rounds.engine.PART_S", 2.0)
    world = World(store)
    world.deaf = {"dev-1"}

    async def scene() -> list[str]:
        async with asyncio.TaskGroup() as group:
            cycle = group.create_task(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE), name="cycle")
            said = []
            while not cycle.done():
                await asyncio.sleep(1)
                said.append(world.engine.stalled())
        return said

    said = run(scene())
    assert len(said) > 3, "it waits for longer than that"
    assert set(said) == {""}


def test_a_round_whose_order_is_never_sent_is_stalled(store: Store) -> None:
    world = World(store)
    for_ever = asyncio.Event()

    async def hang(agent: str, body: Down) -> None:
        await for_ever.wait()

    world.engine._post = hang

    async def scene() -> tuple[str, str]:
        async with asyncio.TaskGroup() as group:
            cycle = group.create_task(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE), name="cycle")
            await asyncio.sleep(PART_S - 1)
            before = world.engine.stalled()
            await asyncio.sleep(2)
            after = world.engine.stalled()
            cycle.cancel()
        return before, after

    before, after = run(scene())
    assert before == ""
    (name,) = world.engine._live
    assert after == f"round {name}: no progress for 600 s"


def test_lines_on_the_way_of_rounds_that_overlap_carry_each_its_own(store: Store, logged: LogCapture) -> None:
    world = World(store)
    world.untokened = (
        Untokened(
            address="10.30.0.10", protocol=Protocol.TCP, port=22, came_from="10.20.0.99", source_port=4711, count=1
        ),
    )
    world.engine.judging._events = lambda _: LOG.info("finding")

    def sent(body: Down) -> None:
        assert not isinstance(body, Stop)
        LOG.info("sent", meant=getattr(body, "round", ""))

    world.on_message = sent
    run(world.engine.cycle("dev-1", ("test", "prod"), Schedule.CYCLE))
    goes = {m.round: m.kind for _, m in world.sent if isinstance(m, Go)}
    assert set(goes.values()) == {RoundKind.NORMAL, RoundKind.CHALLENGE}
    lines = [line for line in logged.entries if line["event"] == "sent"]
    assert {line["meant"] for line in lines} == goes.keys()
    assert [line["round"] for line in lines] == [line["meant"] for line in lines]
    findings = {goes[line["round"]] for line in logged.entries if line["event"] == "finding"}
    assert findings == {RoundKind.NORMAL}, "of the main round, also after its follow-up"
    LOG.info("elsewhere")
    assert "round" not in logged.entries[-1]
