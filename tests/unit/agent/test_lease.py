"""How long an agent sends on without a word: a broker that withholds a stop withholds what lets it go on, too."""

from __future__ import annotations

import asyncio
import math

import msgspec
import pytest

from agent.config import AgentConfig
from agent.in_force import InForce
from agent.lease import LOOK_S, Lease, boot_time
from probes.child.protocol import ToChild
from tests.support.desk import Desk, arm, go, target
from tests.support.virtual import now, run
from wire.messages import Ack, Arm, Close, Done, Go, Plan, Renewed, Resolve, Stop
from wire.signing import AnyDown

LEASE_S = 60.0
CONFIG = AgentConfig(name="dev-1", environment="dev", broker="mqtts://broker.example:8883", allow=("10.30.0.0/24",))
GO, PLAN = msgspec.structs.replace(go(target(1)), lease_s=LEASE_S), Plan(digest="d", lease_s=LEASE_S)
ARM = msgspec.structs.replace(arm(inside=[target(1)]), lease_s=LEASE_S)


class Agent:
    """Its rounds under its lease, on virtual time. `suspended_s`: what its host slept, which only its lease's clock knows."""

    def __init__(self) -> None:
        self.desk, self.suspended_s, self.changes = Desk(), 0.0, 0
        self.lease = Lease(lambda: now() + self.suspended_s)
        self.lease.changed = self._changed
        self.desk.rounds._allow = lambda: (self.desk.allow, self.lease.why)
        self.stops: list[float] = []  # when its packet child was told to
        tell = self.desk.child.tell

        def noted(order: ToChild) -> None:
            if isinstance(order, Stop):
                self.stops.append(now())
            tell(order)

        self.desk.child.tell = noted  # type: ignore[method-assign]

    def _changed(self) -> None:
        """As the daemon has it."""
        self.changes += 1
        self.desk.rounds.expire()

    def hears(self, *orders: tuple[float, AnyDown], until: float = 300.0) -> None:
        """What comes at these seconds is obeyed as the daemon does it."""

        async def scene() -> None:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self.lease.run(), name="lease")
                for at, order in orders:
                    await asyncio.sleep(at - now())
                    self.lease.heard(order)
                    if isinstance(order, Arm | Go | Close | Stop):
                        self.desk.rounds.obey(order)
                await asyncio.sleep(until - now())
                watching.cancel()

        run(scene())


def about(seconds: float) -> object:
    return pytest.approx(seconds, rel=0, abs=0.01)


@pytest.mark.parametrize("order", [GO, ARM], ids=["a source", "an inside control"])
def test_an_agent_that_hears_nothing_more_stops_and_observed_nothing(order: Arm | Go) -> None:
    agent = Agent()
    agent.hears((10.0, order))
    assert agent.stops == [about(10.0 + LEASE_S)]
    assert agent.desk.child.killed_after is not None
    assert agent.changes == 1, "its coordinator is told, where it can be"
    assert not agent.desk.rounds
    assert [why.partition(":")[0] for why in agent.desk.refused] == [
        "no order of the coordinator's has let it send for 60 s"
    ]
    if isinstance(order, Go):
        (done,) = agent.desk.answers
        assert isinstance(done, Done)
        assert not done.ok
        assert done.problems[0].startswith("stopped: no order of the coordinator's has let it send for 60 s")
        assert agent.desk.source_report().observations == (), "it is not run, which is neither blocked nor an error"


def test_what_is_heard_in_time_lets_it_go_on_for_as_long_again() -> None:
    agent = Agent()
    agent.hears((0.0, PLAN), (50.0, GO), (100.0, PLAN), (159.0, PLAN))
    assert agent.stops == [about(159.0 + LEASE_S)]


@pytest.mark.parametrize(
    "order", [Ack(spool="s", sequence=1), Resolve(id="1", names=()), Renewed(), Close(round="other")]
)
def test_nothing_else_lets_it_go_on(order: AnyDown) -> None:
    agent = Agent()
    agent.hears((0.0, GO), (50.0, order))
    assert agent.stops == [about(LEASE_S)]


def test_it_goes_on_by_itself_when_an_order_comes() -> None:
    agent = Agent()
    agent.hears((0.0, GO), (200.0, msgspec.structs.replace(GO, round="r2")), until=250.0)
    assert agent.stops == [about(LEASE_S)]
    assert list(agent.desk.rounds) == ["r2"]
    assert agent.changes == 2


def test_after_its_end_nothing_is_asked_from_inside_once_more() -> None:
    agent = Agent()
    agent.hears((0.0, msgspec.structs.replace(ARM, targets=(target(2),))), until=10.0)
    agent.desk.rounds._open["r"].sends = False  # it has asked what it was to ask
    agent.suspended_s = 2 * LEASE_S

    async def close() -> None:
        agent.desk.rounds.obey(Close(round="r", again=True))

    run(close())
    assert agent.desk.child.told[-1] == Close(round="r", again=False)


def test_a_host_that_slept_finds_out_soon() -> None:
    agent = Agent()

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(agent.lease.run(), name="lease")
            agent.lease.heard(GO)
            agent.desk.rounds.obey(GO)
            await asyncio.sleep(1.0)
            agent.suspended_s = 3600.0
            await asyncio.sleep(LOOK_S)
            watching.cancel()

    run(scene())
    assert len(agent.stops) == 1


def test_a_coordinator_that_gives_none_is_older_and_is_obeyed_as_before() -> None:
    agent = Agent()
    agent.hears((0.0, PLAN), (1.0, msgspec.structs.replace(GO, lease_s=0.0)), until=3000.0)
    assert agent.stops == []


def test_one_that_says_it_is_over_is_obeyed_at_once() -> None:
    """What an agent gets that comes while all is stopped: how hard it may send, and that it may not."""
    agent = Agent()
    agent.hears((0.0, GO), (LOOK_S + 1.0, msgspec.structs.replace(PLAN, lease_s=-1.0)))
    assert agent.stops == [about(LOOK_S + 1.0)]
    lease = Lease(lambda: 0.0)
    assert (lease.left(), lease.why) == (math.inf, "")
    lease.heard(msgspec.structs.replace(PLAN, lease_s=-1.0))
    assert (lease.left(), lease.why) == (0.0, "the coordinator has stopped all probing")
    lease.heard(PLAN)
    assert (lease.left(), lease.why) == (LEASE_S, "")


def test_the_lease_is_part_of_whether_anything_may_be_probed_now() -> None:
    force = InForce(CONFIG, lambda: None)
    assert force.allowed()[1] == ""
    force.lease.heard(msgspec.structs.replace(PLAN, lease_s=-1.0))
    assert force.allowed()[1] == "the coordinator has stopped all probing"
    assert force.lease._clock is boot_time
