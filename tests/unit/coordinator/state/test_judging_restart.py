"""A coordinator that is killed: what it had stored and not judged is judged when it starts again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from coordinator.state.concluding import JudgedRow
from coordinator.state.judging import Judging
from coordinator.store import Store
from reachability.arrival import WitnessReport
from reachability.life import Event
from reachability.round_data import RoundSpec
from reachability.vocabulary import Protocol, Result
from tests.support.slow_agents import PROD, Slow, arrived
from tests.support.virtual import run
from wire.messages import Go


async def started(judging: Judging) -> None:
    """As the coordinator does."""
    task = asyncio.get_running_loop().create_task(judging.run())
    await asyncio.sleep(0)
    await judging.catch_up()
    task.cancel()


def of_22(world: Slow) -> set[Result]:
    cells = (c for c in world.estate.cells() if (c.key.agent, c.key.address) == ("dev-1", PROD))
    return {c.result for c in cells if c.key.protocol is Protocol.TCP and 22 in c.ports}


def stored(store: Store, report: WitnessReport, number: int = 900) -> None:
    store.take(report.agent, "another spool", number, number, [report], 1.0)


def test_a_late_report_that_was_stored_when_it_was_killed_is_judged_at_the_start(store: Store) -> None:
    world = Slow(store)
    world.cycle()
    assert (of_22(world), store.unjudged()) == ({Result.PASS}, [])
    order = next(m for _, m in world.sent if isinstance(m, Go))
    stored(store, arrived(order))  # and killed
    again = Slow(store)
    assert (of_22(again), store.unjudged()) == ({Result.PASS}, [order.round])
    run(started(again.engine.judging))
    assert (of_22(again), store.unjudged()) == ({Result.INCONCLUSIVE}, [])


def test_what_comes_while_a_round_is_judged_is_not_taken_for_judged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Slow(store)
    late: list[str] = []

    take = world.estate.take_judged

    async def meanwhile(spec: RoundSpec, rows: Sequence[JudgedRow], *_: object) -> tuple[Event, ...] | None:
        if not late:
            order = next(m for _, m in world.sent if isinstance(m, Go))
            late.append(order.round)
            stored(store, arrived(order))
        return await take(spec, rows)

    monkeypatch.setattr(world.estate, "take_judged", meanwhile)
    world.cycle()
    assert store.unjudged() == late


def test_what_a_full_disk_did_not_take_of_a_judged_round_is_judged_again_after_a_kill(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Slow(store)
    world.cycle()
    order = next(m for _, m in world.sent if isinstance(m, Go))
    stored(store, arrived(order))
    take = world.estate.take_judged

    async def full_meanwhile(spec: RoundSpec, rows: Sequence[JudgedRow], *_: object) -> tuple[Event, ...] | None:
        store._db.execute("PRAGMA query_only = ON")
        events = await take(spec, rows)
        store._db.execute("PRAGMA query_only = OFF")
        return events

    monkeypatch.setattr(world.estate, "take_judged", full_meanwhile)
    world.engine.judging.again(order.round)
    run(world.engine.judging.catch_up())
    assert world.estate.problem
    assert (of_22(world), store.unjudged()) == ({Result.INCONCLUSIVE}, [order.round])


def test_a_round_that_was_to_be_followed_up_stays_unjudged_until_it_is(store: Store) -> None:
    world = Slow(store)
    world.span_s = 0.5  # less than the spread: what is silent is tried again
    open_then: list[list[str]] = []
    world.on_go = lambda: open_then.append(store.unjudged())
    world.cycle()
    assert len(open_then) > 1
    assert all(open_then[1:])
    assert store.unjudged() == []
