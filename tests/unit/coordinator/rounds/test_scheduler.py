"""The schedule's arithmetic and the echo, with injected clocks."""

from __future__ import annotations

import asyncio
import hmac
from datetime import UTC, datetime

import pytest

from coordinator.broker.addresses import Listen, addresses_of
from coordinator.rounds.control_echo import KEEP_S, Echo
from coordinator.rounds.deadlines import deadline_s
from coordinator.rounds.requests import by_need
from coordinator.rounds.scheduler import Scheduler, destinations_for, next_due, phase
from coordinator.state.estate import Estate
from coordinator.store import Store
from coordinator.topology.load import parse_topology
from reachability.compare import key_of
from reachability.observation import Target
from reachability.plan import PlanTarget
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Schedule, State
from tests.support.sample import evidence, judged
from wire.messages import Status
from wire.topics import UpChannel, UpTopic

TOPOLOGY = b"""version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}
  test: {networks: [10.20.0.0/24], agents: {test-1: {addresses: [10.20.0.10]}}}
  prod: {networks: [10.30.0.0/24], agents: {prod-1: {addresses: [10.30.0.10]}}}
probing: {every: 60s, blackout: [{cron: "0 2 * * *", for: 1h, timezone: UTC}]}
"""


def test_starts_are_spread_and_constant() -> None:
    phases = [phase(f"agent-{n}", "cycle", 60.0) for n in range(200)]
    assert all(0 <= p < 60 for p in phases)
    assert max(sum(low <= p < low + 10 for p in phases) for low in range(0, 60, 10)) < 60, "spread over the period"
    assert phase("dev-1", "cycle", 60.0) == phase("dev-1", "cycle", 60.0)
    assert phase("dev-1", "cycle", 60.0) != phase("dev-1", "sweep", 60.0)


@pytest.mark.parametrize("now", [0.0, 59.9, 1e9, 1.7e9 + 0.123])
def test_the_next_start_is_within_a_period(now: float) -> None:
    at = next_due("dev-1", "cycle", 60.0, now)
    assert now < at <= now + 60
    assert next_due("dev-1", "cycle", 60.0, at) == pytest.approx(at + 60)


class Clock:
    """Time that passes while somebody sleeps."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)


def estate(tmp: Store, clock: Clock) -> Estate:
    made = Estate(parse_topology(TOPOLOGY), tmp, clock)
    for name, environment in made.topology.agents().items():
        made.take_status(
            UpTopic(environment, name, UpChannel.STATUS),
            Status(name=name, environment=environment, online=True),
            retained=False,
        )
    return made


@pytest.mark.parametrize(
    ("start", "held", "runs"), [(12 * 3600.0, "", True), (2 * 3600.0, "", False), (12 * 3600.0, "verify", False)]
)
def test_cycles_start_but_not_in_a_blackout_nor_while_held(
    tmp_path: object, start: float, held: str, runs: bool
) -> None:
    store = Store(tmp_path)  # type: ignore[arg-type]
    clock = Clock(start)
    made = estate(store, clock)
    seen: list[tuple[str, tuple[str, ...], str]] = []

    async def run(agent: str, destinations: tuple[str, ...], schedule: str) -> None:
        seen.append((agent, destinations, schedule))

    async def main() -> None:
        scheduler = Scheduler(made, run, held=lambda: held, sleep=clock.sleep)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(scheduler.run(), name="scheduler")
            while clock.at < start + 600:  # noqa: ASYNC110 - the clock is the scheduler's own
                await asyncio.sleep(0)
            task.cancel()

    asyncio.run(main())
    store.close()
    assert bool(seen) is runs
    if runs:
        assert {agent for agent, _, _ in seen} == {"dev-1", "test-1", "prod-1"}
        assert 27 <= len(seen) <= 33, "ten periods of three agents"
        assert {schedule for _, _, schedule in seen} == {"cycle"}


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_a_clock_that_is_set_stops_no_schedule(tmp_path: object, step_s: float) -> None:
    """Neither for the hour that it was set back, nor does it run what it has not missed."""
    store = Store(tmp_path)  # type: ignore[arg-type]
    clock = Clock(12 * 3600.0)
    made = estate(store, clock)
    seen: list[tuple[float, str]] = []
    slept = [0.0]

    async def run(agent: str, destinations: tuple[str, ...], schedule: str) -> None:
        seen.append((slept[0], agent))

    async def sleep(seconds: float) -> None:
        before = slept[0]
        slept[0] += seconds
        if before < 300 <= slept[0]:
            clock.at += step_s
        await clock.sleep(seconds)

    async def main() -> None:
        scheduler = Scheduler(made, run, held=lambda: "", sleep=sleep)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(scheduler.run(), name="scheduler")
            while slept[0] < 900:  # noqa: ASYNC110 - the clock is the scheduler's own
                await asyncio.sleep(0)
            task.cancel()

    asyncio.run(main())
    store.close()
    for agent in made.agents:
        at = [when for when, name in seen if name == agent]
        gaps = [later - sooner for sooner, later in zip(at, at[1:], strict=False)]
        assert 14 <= len(at) <= 17
        assert max(gaps) <= 2 * 60 + 6


def test_the_schedule_keeps_its_period_through_daylight_saving(tmp_path: object) -> None:
    """Berlin's night of 25 October 2026 has 02:00 to 03:00 twice: a blackout then is kept twice, and nothing else is lost."""
    local = b'[{cron: "0 2 * * *", for: 1h, timezone: Europe/Berlin}]'
    text = TOPOLOGY.replace(b'[{cron: "0 2 * * *", for: 1h, timezone: UTC}]', local)
    store = Store(tmp_path)  # type: ignore[arg-type]
    start = datetime(2026, 10, 24, 23, 0, tzinfo=UTC).timestamp()
    clock = Clock(start)
    made = estate(store, clock)
    made.take_topology(parse_topology(text))
    minutes: set[int] = set()

    async def run(agent: str, destinations: tuple[str, ...], schedule: str) -> None:
        if agent == "dev-1":
            minutes.add(int(clock.at - start) // 60)

    async def main() -> None:
        scheduler = Scheduler(made, run, held=lambda: "", sleep=clock.sleep)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(scheduler.run(), name="scheduler")
            while clock.at < start + 4 * 3600:  # noqa: ASYNC110 - the clock is the scheduler's own
                await asyncio.sleep(0)
            task.cancel()

    asyncio.run(main())
    store.close()
    assert minutes == {*range(60), *range(180, 240)}, "01:00 to 02:00 summer time, and from 03:00 winter time on"


SWEEPING = TOPOLOGY.replace(b"every: 60s,", b"every: 60s, sweep: {every: 24h, ports: [tcp/1-100]},")


def swept(made: Estate, agent: str, at: float, state: State = State.FILTERED) -> list[PlanTarget]:
    """Say that all that the agent sweeps was swept then; the targets."""
    targets = [t for t in made.plan if t.agent == agent and t.protocol is Protocol.TCP]
    for target in targets:
        seen = judged(evidence(target, state), "R1", "", at, schedule=Schedule.SWEEP)
        made.matrix.update(key_of(target), target.sweep, seen)
    return targets


@pytest.mark.parametrize(("age_s", "first"), [(25 * 3600.0, True), (3600.0, False)])
def test_a_sweep_that_a_restart_cut_off_is_taken_up(tmp_path: object, age_s: float, first: bool) -> None:
    store = Store(tmp_path)  # type: ignore[arg-type]
    clock = Clock(12 * 3600.0)
    made = estate(store, clock)
    made.take_topology(parse_topology(SWEEPING))
    swept(made, "dev-1", clock.at - age_s)
    seen: list[tuple[str, str]] = []

    async def run(agent: str, destinations: tuple[str, ...], schedule: str) -> None:
        seen.append((agent, schedule))

    async def main() -> None:
        scheduler = Scheduler(made, run, held=lambda: "", sleep=clock.sleep)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(scheduler.run(), name="scheduler")
            while clock.at < 12 * 3600.0 + 70:  # noqa: ASYNC110 - the clock is the scheduler's own
                await asyncio.sleep(0)
            task.cancel()

    asyncio.run(main())
    store.close()
    due = {agent for agent in ("dev-1", "test-1", "prod-1") if 43200 <= phase(agent, "sweep", 86400.0) < 43270}
    assert {agent for agent, schedule in seen if schedule == "sweep"} == due | ({"dev-1"} if first else set())


def test_what_was_not_closed_is_swept_first_then_what_is_oldest(tmp_path: object) -> None:
    store = Store(tmp_path)  # type: ignore[arg-type]
    made = estate(store, Clock(12 * 3600.0))
    made.take_topology(parse_topology(SWEEPING))
    swept(made, "dev-1", 5.0)
    swept(made, "test-1", 9.0, State.OPEN)
    swept(made, "prod-1", 3.0)
    order = [t.agent for t in by_need(made.plan, made.matrix) if t.protocol is Protocol.TCP]
    store.close()
    assert list(dict.fromkeys(order)) == ["test-1", "prod-1", "dev-1"]


def test_sources_that_start_together_go_to_different_destinations(tmp_path: object) -> None:
    store = Store(tmp_path)  # type: ignore[arg-type]
    made = estate(store, Clock(0.0))
    firsts = [destinations_for(made, agent)[0] for agent in made.agents]
    store.close()
    assert sorted(firsts) == ["dev", "prod", "test"]


def test_an_agent_that_says_to_be_another_is_refused(tmp_path: object) -> None:
    store = Store(tmp_path)  # type: ignore[arg-type]
    made = estate(store, Clock(0.0))

    def heard(topic: UpTopic, name: str, environment: str) -> str:
        return made.take_status(topic, Status(name=name, environment=environment, online=True), retained=False).problem

    own = UpTopic("dev", "dev-1", UpChannel.STATUS)
    assert not heard(own, "dev-1", "dev")
    assert "claims to be 'prod-1'" in heard(own, "prod-1", "prod")
    assert heard(own, "dev-1", "prod")
    assert heard(UpTopic("prod", "dev-1", UpChannel.STATUS), "dev-1", "prod")
    assert "is not in" in heard(UpTopic("dev", "dev-9", UpChannel.STATUS), "dev-9", "dev")
    store.close()


def test_the_echo_answers_rounds_it_knows_and_nobody_else() -> None:
    now = [0.0]
    echo = Echo(now=lambda: now[0])
    echo.know("R1", b"k" * 16)
    request = b"12345678R1"
    assert echo.answer(request) == hmac.digest(b"k" * 16, b"echo" + request, "sha256")[:16]
    for stranger in (b"", b"12345678", b"12345678R2", b"x" * 80, b"12345678R1 "):
        assert echo.answer(stranger) is None
    echo.forget("R1")
    assert echo.answer(request) is not None, "what is still on its way is answered"
    now[0] += KEEP_S + 1
    assert echo.answer(request) is None


def test_controls_are_where_the_broker_listens() -> None:
    assert addresses_of(Listen("127.0.0.1", 8883)) == ("127.0.0.1",)
    assert addresses_of(Listen("10.9.9.9", 8883)) == ("10.9.9.9",)


def test_a_round_may_take_as_long_as_its_source_needs() -> None:
    """A time-out takes the round's cells away: whoever is slow, or connects, must have all its time."""
    target = Target(
        id=1, environment="prod", address="10.30.0.10", protocol=Protocol.TCP, ports=PortSet.parse("1-65535")
    )
    copies, pace_pps = 6, 50_000
    busy_s = 65_535 * copies / pace_pps
    assert deadline_s([target], 1_000_000_000, 1_000_000_000) > 2 * busy_s
    assert deadline_s([target], 1000, 1_000_000_000) > 65_535 * copies / 1000
    all_time_outs_s = (0.5 + 1 + 2 + 3 + 3 + 3) * 65_535 / 1000
    assert deadline_s([target], 100, 1_000_000_000, copies=48) > 65_535 * 50 / 100, (
        "as many as the legs of a path ask for"
    )
    assert deadline_s([target], 0, 1_000_000_000, raw=False) > deadline_s([target], 10**9, 10**9) + all_time_outs_s - 1
