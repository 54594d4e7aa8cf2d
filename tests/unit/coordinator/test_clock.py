"""A clock that is set, by an hour and both ways: no schedule, no expiry and no order of what was seen hangs on it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from coordinator.clock import WatchedClock
from coordinator.rounds.durations import Durations
from coordinator.rounds.engine import Engine
from coordinator.rounds.verify_runs import Runs
from coordinator.state.estate import Estate
from coordinator.state.judging import Judging
from coordinator.store import Store
from coordinator.topology.load import parse_topology
from reachability.compare import key_of
from reachability.observation import Observation, SourceReport, Target
from reachability.plan import PlanTarget
from reachability.ports import ICMP_CELL
from reachability.round_data import RoundSpec
from reachability.vocabulary import Protocol, Reason, Result, RoundKind, Schedule, State
from tests.support.answers import json_of
from tests.support.sample import evidence, judged
from wire.messages import Status
from wire.topics import UpChannel, UpTopic

TOPOLOGY = b"""version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}
  prod: {networks: [10.30.0.0/24], agents: {prod-1: {addresses: [10.30.0.10]}}}
waivers:
  - {id: W-1, from: dev, to: prod, owner: x, justification: y, expires: 2027-01-31T00:00:00Z}
probing: {every: 60s, confirm: 1}
"""
START = 1_801_000_000.0  # 2027-01-26


class Time:
    """A machine's two clocks."""

    def __init__(self) -> None:
        self.wall, self.steady = START, 50.0
        self.clock = WatchedClock(lambda: self.wall, lambda: self.steady)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def watched(time: Time, store: Store) -> Estate:
    made = Estate(parse_topology(TOPOLOGY), store, time.clock)
    time.clock.stepped.append(made.clock_stepped)
    return made


def say(estate: Estate, **more: object) -> None:
    status = Status(name="dev-1", environment="dev", online=True, **more)  # type: ignore[arg-type]
    estate.take_status(UpTopic("dev", "dev-1", UpChannel.STATUS), status, retained=False)


def first_target(estate: Estate) -> PlanTarget:
    return next(t for t in estate.plan if t.agent == "dev-1" and t.protocol is Protocol.ICMP)


def observe(estate: Estate, name: str, state: State = State.FILTERED) -> None:
    target = first_target(estate)
    estate.matrix.update(key_of(target), ICMP_CELL, judged(evidence(target, state), name, "", estate.clock()))


def held(estate: Estate) -> tuple[str, float]:
    ((_, found),) = estate.matrix.rows(key_of(first_target(estate)))
    return found.round, found.observed_at


def result(estate: Estate) -> Result:
    return next(cell.result for cell in estate.cells() if cell.key == key_of(first_target(estate)))


def test_it_is_the_walls_and_slewing_is_no_step() -> None:
    time = Time()
    told: list[float] = []
    time.clock.stepped.append(told.append)
    time.passes(1000)
    assert time.clock() == START + 1000
    time.wall += 0.4
    time.clock()
    assert told == []
    time.wall -= 3600
    assert time.clock() == START + 1000.4 - 3600
    time.clock()
    assert told == [pytest.approx(-3599.6)], "once"


@pytest.mark.parametrize("step_s", [-86400.0, -3600.0, 3600.0, 86400.0])
def test_what_was_seen_keeps_its_age_and_its_order(store: Store, step_s: float) -> None:
    time = Time()
    estate = watched(time, store)
    observe(estate, "R1")
    assert result(estate) is Result.PASS
    time.passes(60)
    time.wall += step_s
    assert estate.clock() - held(estate)[1] == pytest.approx(60)
    assert result(estate) is Result.PASS, "it has not grown stale by that"
    observe(estate, "R2", State.OPEN)
    assert held(estate)[0] == "R2", "what is seen now is newer than what was seen before the clock was set"
    time.passes(181)
    assert result(estate) is Result.STALE, "and nothing stays fresh for an hour"


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_an_agent_is_neither_lost_nor_kept_by_it(store: Store, step_s: float) -> None:
    time = Time()
    estate = watched(time, store)
    say(estate, sent_at=START + 600)
    time.passes(10)
    time.wall += step_s
    assert estate.clock() - estate.agents["dev-1"].last_seen == pytest.approx(10)
    assert estate.agents["prod-1"].last_seen == 0.0, "never stays never"


def test_a_clock_that_was_set_back_while_nobody_ran_leaves_nothing_green(store: Store) -> None:
    time = Time()
    estate = watched(time, store)
    observe(estate, "R1")
    key = key_of(first_target(estate))
    store.put_cells([(key, estate.matrix.rows(key))])
    time.wall -= 3600
    again = Estate(parse_topology(TOPOLOGY), store, WatchedClock(lambda: time.wall, lambda: time.steady))
    assert result(again) is Result.STALE
    observe(again, "R2")
    assert held(again)[0] == "R2"


def test_a_clock_that_began_in_1970_and_was_then_set_leaves_nothing_green(store: Store) -> None:
    """A board without a battery: it starts before there is a time, and is told it later."""
    time = Time()
    estate = watched(time, store)
    observe(estate, "R1")
    key = key_of(first_target(estate))
    store.put_cells([(key, estate.matrix.rows(key))])
    booted = Time()
    booted.wall, booted.steady = 0.0, 0.0
    booted.clock = WatchedClock(lambda: booted.wall, lambda: booted.steady)
    again = watched(booted, store)
    assert result(again) is Result.STALE
    booted.passes(10)
    booted.wall += START + 86400.0
    again.clock()
    assert result(again) is Result.STALE, "when it was seen is as little known as before"
    observe(again, "R2")
    assert (held(again)[0], result(again)) == ("R2", Result.PASS)


def test_waivers_go_by_the_walls_clock(store: Store) -> None:
    time = Time()
    estate = watched(time, store)
    for after_s, expected in ((0.0, Result.WAIVED), (6 * 86400.0, Result.FAIL), (-6 * 86400.0, Result.WAIVED)):
        time.wall += after_s
        estate.clock()
        observe(estate, f"R{after_s}", State.OPEN)
        assert result(estate) is expected


def test_clocks_ten_minutes_apart_are_shown_and_change_nothing(store: Store) -> None:
    from coordinator.api import agents, metrics

    time = Time()
    estate = watched(time, store)
    for skew_s in (-600.0, 600.0):
        say(estate, sent_at=time.wall + skew_s)
        (body, _) = json_of(agents.agents_body(estate.agents.values(), estate.clock()))
        assert (body["state"], body["clock_skew_s"]) == ("connected", skew_s)
        text = metrics.exposition(estate.topology, (), (), estate.agents.values(), Durations())
        shown = [line for line in text.splitlines() if line.startswith("segwatch_agent_clock_skew_seconds")]
        assert shown == [f'segwatch_agent_clock_skew_seconds{{agent="dev-1",environment="dev"}} {skew_s}'], (
            "and nothing of one that was never heard"
        )
        assert estate.agents["dev-1"].last_seen == time.wall


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("step_s", [0.0, -5 * 3600.0, 3600.0])
def test_a_report_that_was_held_back_makes_nothing_fresh(store: Store, step_s: float, *, restarted: bool) -> None:
    """A captured broker may keep a batch for hours, over which the clock is set back by as much, even while nobody runs."""
    time = Time()
    estate = watched(time, store)
    target = Target(id=1, environment="prod", address="10.30.0.10", protocol=Protocol.ICMP, source="10.10.0.10")
    spec = RoundSpec(
        round="R1",
        kind=RoundKind.NORMAL,
        schedule=Schedule.CYCLE,
        source="dev-1",
        source_environment="dev",
        destination="prod",
        targets=(target,),
    )
    store.start_round(spec, "R1", estate.clock())
    time.passes(3 * 3600.0)
    time.wall += step_s
    if restarted:
        estate = Estate(parse_topology(TOPOLOGY), store, WatchedClock(lambda: time.wall, lambda: time.steady))
    estate.clock()
    time.passes(2 * 3600.0)
    seen = Observation(
        target=1,
        source_address="10.10.0.10",
        address="10.30.0.10",
        protocol=Protocol.ICMP,
        state=State.FILTERED,
        reason=Reason.NO_RESPONSE,
        sent=4,
    )
    report = SourceReport(round="R1", agent="dev-1", observations=(seen,))
    store.take("dev-1", "s", 1, 1, [report], estate.clock())
    judging = Judging(estate)
    judging.again("R1")
    asyncio.run(judging.catch_up())
    name, observed_at = held(estate)
    assert name == "R1"
    known = START if step_s >= 0 else 0.0  # 0: it began by a clock that nobody saw being set
    assert observed_at == pytest.approx(known if restarted else START + step_s, rel=0, abs=0.1)
    assert result(estate) is Result.STALE


def test_a_status_that_is_old_news_changes_nothing(store: Store) -> None:
    time = Time()
    estate = watched(time, store)
    topic = UpTopic("dev", "dev-1", UpChannel.STATUS)
    now = Status(name="dev-1", environment="dev", online=True, instance="b", number=7, challenge=b"7")
    estate.take_status(topic, now, retained=False)
    old = replace_struct(now, number=6, challenge=b"6")
    will_of_before = replace_struct(now, instance="a", online=False, number=1)
    for other in (old, will_of_before):
        assert not estate.take_status(topic, other, retained=False).changed
        assert (estate.agents["dev-1"].challenge, estate.agents["dev-1"].online) == (b"7", True)
    assert estate.take_status(topic, replace_struct(now, online=False, number=2), retained=False).changed
    newer = replace_struct(now, instance="c", number=1, challenge=b"1")
    assert estate.take_status(topic, newer, retained=False).changed
    assert estate.agents["dev-1"].challenge == b"1"


def replace_struct(status: Status, **more: object) -> Status:
    import msgspec

    return msgspec.structs.replace(status, **more)


@pytest.mark.asyncio
@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
async def test_a_verify_waits_for_agents_by_a_clock_that_cannot_be_set(store: Store, step_s: float) -> None:
    from coordinator.rounds.control_echo import Echo
    from coordinator.rounds.requests import Controls

    time = Time()
    estate = watched(time, store)

    async def post(agent: str, body: object) -> None:
        raise AssertionError

    async def sleep(seconds: float) -> None:
        time.passes(seconds)
        if time.steady == pytest.approx(52):
            time.wall += step_s

    engine = Engine(estate, post, Echo(), lambda: Controls(()))
    runs = Runs(estate, engine, sleep=sleep, steady=lambda: time.steady)
    runs.ask(sweep=False, source=None, destination=None)
    await runs._carry_out(runs._queue.get_nowait())
    assert time.steady == pytest.approx(80, abs=0.3), "30 s of a fresh start"


def test_the_times_of_a_moved_matrix_are_moved_alone(store: Store) -> None:
    time = Time()
    estate = watched(time, store)
    observe(estate, "R1")
    ((ports, before),) = estate.matrix.rows(key_of(first_target(estate)))
    estate.matrix.shift(-5.0)
    ((ports_after, after),) = estate.matrix.rows(key_of(first_target(estate)))
    assert (ports_after, after) == (ports, replace(before, observed_at=before.observed_at - 5))
