"""How long a round waits once its source goes, on virtual time: agents that are slow, late, gone, or say what is not so."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import msgspec
import pytest

from coordinator.rounds import deadlines, requests
from coordinator.state.roster import AgentState
from coordinator.store import Store
from coordinator.topology.load import parse_topology
from probes.source.followups import GROUP_PAUSE_S, GROUP_SLOTS
from reachability.observation import SourceReport, Target
from reachability.plan import build_plan
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.topology import Probing
from reachability.vocabulary import Protocol, Result, RoundKind, Schedule
from tests.support.rounds import TOPOLOGY, World
from tests.support.slow_agents import NEVER, TWO_WITNESSES, Slow, about, at
from tests.support.virtual import now, run
from wire.messages import Arm, Close, Done, Go


@pytest.fixture
def world(store: Store) -> Slow:
    return Slow(store)


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
    deadline_s = deadlines.patience_s(go, world.estate.agents["dev-1"], world.estate.topology.probing)
    assert 40.0 <= deadline_s < 120.0
    assert world.at(Close) == [about(deadline_s)]
    assert world.results() == {Result.INCONCLUSIVE}


@pytest.mark.parametrize(
    "claimed", [{"rate_pps": 1}, {"flows": 1}, {"raw": False}, {"rate_pps": 1, "flows": 1, "raw": False}]
)
def test_what_a_source_says_of_itself_lengthens_its_round_by_two_minutes_at_most(claimed: dict[str, int]) -> None:
    """Its destination is nobody else's meanwhile: a rate of 1 and silence had held it for a week."""
    probing, honest = Probing(rate_pps=20_000), AgentState(name="dev-1", environment="dev", raw=True)
    target = Target(
        id=1, environment="prod", address="10.30.0.10", protocol=Protocol.TCP, ports=PortSet.parse("1-65535")
    )
    go = Go(round="R1", key=bytes(16), kind=RoundKind.NORMAL, targets=(target,))
    lies = replace(honest, **claimed)  # type: ignore[arg-type]
    for order in (go, msgspec.structs.replace(go, copies=48), msgspec.structs.replace(go, rate_pps=1000)):
        honest_s = deadlines.patience_s(msgspec.structs.replace(order, rate_pps=0), honest, probing)
        assert honest_s < deadlines.patience_s(order, lies, probing) <= honest_s + 120.0


@pytest.mark.parametrize(
    "own",
    [{"rate_pps": 1}, {"rate_pps": 50}, {"flows": 3}, {"flows": 1000}, {"raw": False}, {"rate_pps": 300, "raw": False}],
)
def test_one_that_its_own_bounds_make_slow_gets_rounds_for_which_it_has_the_time(own: dict[str, int]) -> None:
    declared = parse_topology(
        TOPOLOGY.replace(b"confirm: 1", b"rate_pps: 20000, sweep: {every: 1h, ports: [tcp/1-65535]}")
    )
    agents = {"dev-1": replace(AgentState(name="dev-1", environment="dev", raw=True), **own)}  # type: ignore[arg-type]
    plan = build_plan(declared, {}, {})
    parts = requests.targets_of(declared, plan, "dev-1", "prod", Schedule.SWEEP, agents)
    for targets in (parts[0], parts[-1]):
        go = Go(round="R1", key=bytes(16), kind=RoundKind.NORMAL, targets=targets)
        patience_s = deadlines.patience_s(go, agents["dev-1"], declared.probing)
        rate, flows = agents["dev-1"].rate_pps or 20_000, agents["dev-1"].flows
        needs_s = deadlines.deadline_s(targets, rate, flows or declared.probing.flows, raw=agents["dev-1"].raw)
        assert patience_s == pytest.approx(needs_s), "none of its time is taken from it"


def test_a_witness_listens_for_longer_than_any_source_is_waited_for() -> None:
    declared = parse_topology(TOPOLOGY.replace(b"confirm: 1", b"rate_pps: 20"))
    slow = AgentState(name="dev-1", environment="dev", online=True, rate_pps=1)
    agents = {"dev-1": slow, "prod-1": replace(slow, name="prod-1", environment="prod", raw=True)}
    (targets, *_) = requests.targets_of(declared, build_plan(declared, {}, {}), "dev-1", "prod", Schedule.CYCLE, agents)
    spec = RoundSpec(
        round="R1", kind=RoundKind.NORMAL, schedule=Schedule.CYCLE, source="dev-1", source_environment="dev",
        destination="prod", targets=targets,
    )  # fmt: skip
    arm = requests.arms(declared, spec, bytes(16), agents, None)["prod-1"]
    go = Go(round="R1", key=bytes(16), kind=RoundKind.NORMAL, targets=targets)
    assert arm.ttl_s > deadlines.patience_s(go, slow, declared.probing) + 30.0, "and its tail"


def test_a_round_of_groups_may_take_as_long_as_its_pauses(world: Slow) -> None:
    groups = tuple((1, PortSet.of([port])) for port in range(1, 33))
    go = Go(round="R1", key=bytes(16), kind=RoundKind.NOPORTS, targets=())
    own, probing = world.estate.agents["dev-1"], world.estate.topology.probing
    longer_s = deadlines.patience_s(msgspec.structs.replace(go, groups=groups), own, probing)
    pauses_s = len(groups) * GROUP_SLOTS * GROUP_PAUSE_S
    assert longer_s - deadlines.patience_s(go, own, probing) > pauses_s


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


def test_a_source_that_lost_the_order_with_its_connection_is_told_again(world: Slow) -> None:
    """As when it goes over to a new certificate in the very moment in which it is sent off."""
    world.connected("dev-1", 1)
    world.deaf = {"dev-1"}

    def comes_back() -> None:
        world.deaf = set()
        world.connected("dev-1", 2)

    at(world, 1.0, comes_back)
    assert world.cycle() == about(1.0 + 2.0)
    assert world.at(Go) == [about(0.0), about(1.0)]
    assert world.results() == {Result.PASS}


def test_a_source_that_comes_back_for_ever_is_told_three_times_and_has_no_longer_for_it(world: Slow) -> None:
    world.connected("dev-1", 1)
    world.takes["dev-1", Go] = NEVER
    for number in range(2, 9):
        at(world, float(number), lambda number=number: world.connected("dev-1", number))  # type: ignore[misc]
    world.cycle()
    (go, *again) = [message for _, message in world.sent if isinstance(message, Go)]
    assert again == [go, go]
    deadline_s = deadlines.patience_s(go, world.estate.agents["dev-1"], world.estate.topology.probing)
    assert world.at(Close) == [about(deadline_s)]


@pytest.mark.parametrize(("connections", "process"), [((0, 1), ""), ((1, 1), ""), ((1, 2), "another")])
def test_only_the_process_that_lost_it_is_told_again(world: Slow, connections: tuple[int, int], process: str) -> None:
    """Not one whose version does not say, nor one that was started anew: the witnesses know another by its name."""
    world.connected("dev-1", connections[0])
    world.takes["dev-1", Go] = 8.0
    at(world, 1.0, lambda: world.connected("dev-1", connections[1], process))
    world.cycle()
    assert len(world.at(Go)) == 1


def test_nobody_is_told_again_after_a_stop(world: Slow) -> None:
    world.connected("dev-1", 1)
    world.takes["dev-1", Go] = NEVER

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE), name="cycle")
            await asyncio.sleep(1.2)
            await world.engine.stop("by hand")
            world.connected("dev-1", 2)

    run(scene())
    assert len(world.at(Go)) == 1


def test_done_is_believed_of_the_source_alone(world: Slow) -> None:
    world.takes["dev-1", Go] = 4.0
    lie = Done(round="", agent="prod-1", sequence=1, tail_s=0.0)
    at(world, 1.0, lambda: world.engine.answer("prod-1", replaced(lie, round_of(world))))
    world.cycle()
    assert world.at(Close) == [about(6.0)]


def replaced(done: Done, round_id: str) -> Done:
    return Done(round=round_id, agent=done.agent, sequence=done.sequence, tail_s=done.tail_s)


# -- reports ------------------------------------------------------------------------------------------------------


def test_a_round_is_over_once_all_reports_are_in(world: Slow) -> None:
    world.takes["prod-1", Close] = 9.0
    assert world.cycle() == about(2.0 + 9.0)
    assert world.results() == {Result.PASS}


def test_a_report_that_comes_after_its_round_is_judged_then(world: Slow) -> None:
    world.takes["prod-1", Close] = 11.0

    async def scene() -> None:
        await world.engine.cycle("dev-1", ("prod",), Schedule.CYCLE)
        assert now() == about(2.0 + 10.0)
        assert world.results() == {Result.INCONCLUSIVE}
        await asyncio.sleep(1.1)
        await world.engine.judging.catch_up()
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
        await world.engine.cycle(agent, (destination,), Schedule.CYCLE)
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
