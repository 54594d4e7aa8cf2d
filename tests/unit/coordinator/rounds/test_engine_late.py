"""What comes of a round when it is over: nothing that its follow-ups show is judged without it."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.store import Store
from reachability.vocabulary import Protocol, Result, Schedule
from tests.support.slow_agents import PROD, Slow, arrived
from tests.support.virtual import run
from wire.messages import Down, Go


@pytest.mark.parametrize("followed", [True, False], ids=["while it is followed up", "when all is over"])
def test_what_comes_late_is_in_the_last_word(store: Store, followed: bool) -> None:  # noqa: FBT001
    world = Slow(store)
    world.span_s = 0.5  # less than the spread: what is silent is tried again
    orders: list[Go] = []
    came: list[asyncio.Task[None]] = []

    def result() -> set[Result]:
        cells = (c for c in world.estate.cells() if (c.key.agent, c.key.address) == ("dev-1", PROD))
        return {c.result for c in cells if c.key.protocol is Protocol.TCP and 22 in c.ports}

    async def late() -> None:
        world._report(arrived(orders[0]))
        await world.engine.judging.catch_up()

    def on(message: Down) -> None:
        if isinstance(message, Go):
            orders.append(message)
            if followed and len(orders) == 2:
                came.append(asyncio.get_running_loop().create_task(late()))

    async def scene() -> None:
        await world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE)
        assert len(orders) > 1, "it was followed up"
        if not followed:
            assert result() == {Result.PASS}, "or the report shows nothing"
            await late()
        await world.engine.judging.catch_up()

    world.on_message = on
    world.takes["dev-1", Go] = 3.0
    run(scene())
    assert all(task.done() for task in came)
    assert len(came) == followed
    assert result() == {Result.INCONCLUSIVE}
