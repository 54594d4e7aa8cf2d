"""A plan is made beside the event loop, and comes into force whole, or not at all."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from coordinator.state import in_force
from coordinator.state.in_force import planned, put_in_force
from coordinator.state.planning import Known, Plan, plan_of
from coordinator.topology.load import TopologyErrors, parse_topology
from reachability.plan import build_plan
from reachability.topology import Topology
from tests.support.coordinator import TOPOLOGY, Coordinator
from tests.support.rounds import TOPOLOGY as NO_NAMES
from tests.support.waiting import HANG_S
from wire.messages import Status
from wire.topics import UpChannel, UpTopic

FOUND = Known({}, {"db.prod.internal": ("10.30.0.21", "10.30.0.22")})


class Estate:
    """Hears something else whenever `says` has something."""

    def __init__(self, *says: Known) -> None:
        self.says, self.asked, self.in_force = list(says), 0, list[tuple[Topology, Plan | None]]()

    def known(self, _: Topology) -> Known:
        self.asked += 1
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]

    def take_topology(self, topology: Topology, plan: Plan | None = None) -> None:
        self.in_force.append((topology, plan))


@pytest.fixture
def topology() -> Topology:
    return parse_topology(TOPOLOGY.encode())


@pytest.mark.asyncio
async def test_the_loop_goes_on_while_a_plan_is_made_and_the_old_one_is_in_force(
    world: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread waits for what the loop does: on the loop it would wait for ever."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(topology: Topology, known: Known) -> Plan:
        begun.set()
        assert go_on.wait(HANG_S), "the loop waits for the plan"
        return plan_of(topology, known)

    monkeypatch.setattr(in_force, "plan_of", slow)
    estate, new = world.estate, parse_topology(NO_NAMES)
    old = estate.topology, estate.plan, set(estate.agents)
    async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
        task = group.create_task(put_in_force(new, estate), name="plan")
        await asyncio.to_thread(begun.wait, HANG_S)
        heard = estate.take_status(
            UpTopic("dev", "dev-1", UpChannel.STATUS),
            Status(name="dev-1", environment="dev", online=True),
            retained=False,
        )
        assert heard.changed
        assert (estate.topology, estate.plan, set(estate.agents)) == old
        assert not task.done()
        go_on.set()
    assert (estate.topology, estate.plan, set(estate.agents)) == (
        new,
        build_plan(new, {}, {}),
        {"dev-1", "test-1", "prod-1"},
    )
    assert estate.agents["dev-1"].online, "what was heard meanwhile is not lost"


@pytest.mark.asyncio
async def test_what_is_heard_meanwhile_is_in_the_plan(topology: Topology) -> None:
    estate = Estate(Known({}, {}), FOUND)
    await put_in_force(topology, estate)
    assert estate.in_force == [(topology, plan_of(topology, FOUND))]


@pytest.mark.asyncio
async def test_somebody_who_says_something_else_all_the_time_does_not_keep_it_from_being_made(
    topology: Topology,
) -> None:
    says = [replace(FOUND, addresses={"dev-1": (f"10.10.0.{n}",)}) for n in range(100)]
    estate = Estate(*says)
    assert await planned(topology, estate) == plan_of(topology, FOUND)
    assert estate.asked < 10


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (MemoryError(), ": there is too little memory; name fewer hosts, or give the coordinator more"),
        (KeyError("prod"), ", a fault in segwatch, please report it: KeyError: 'prod'"),
    ],
)
async def test_a_plan_that_cannot_be_made_is_an_error_of_its_file_and_the_old_one_stays(
    world: Coordinator, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    def fails(*_: object) -> Plan:
        raise error

    monkeypatch.setattr(in_force, "plan_of", fails)
    estate = world.estate
    old = estate.topology, estate.plan, set(estate.agents), dict(estate.moves.last)
    with capture_logs() as logs, pytest.raises(TopologyErrors) as refused:
        await put_in_force(parse_topology(NO_NAMES, "new.yaml"), estate)
    assert refused.value.errors == (f"new.yaml: its plan cannot be made{why}",)
    assert (estate.topology, estate.plan, set(estate.agents), dict(estate.moves.last)) == old
    assert [(line["event"], line["exc_info"]) for line in logs] == [("a plan cannot be made", True)]
