"""A plan is bounded whatever agents and resolvers say."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from coordinator.state import planning
from coordinator.state.planning import Known, plan_of
from coordinator.topology.load import parse_topology
from reachability.plan import build_plan
from reachability.topology import Topology
from tests.support.coordinator import TOPOLOGY, Coordinator
from wire.messages import Status

NAME = "db.prod.internal"
FOUND = Known({}, {NAME: ("10.30.0.21", "10.30.0.22")})


@pytest.fixture
def topology() -> Topology:
    return parse_topology(TOPOLOGY.encode())


def test_a_plan_is_of_what_is_declared_and_known(topology: Topology) -> None:
    assert plan_of(topology, FOUND) == build_plan(topology, {}, FOUND.leads_to)


def test_what_names_lead_to_is_left_out_where_it_is_too_much(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name stays in the plan: nothing is proven there, so that nothing is green that was not tried."""
    declared = build_plan(topology, {}, {})
    monkeypatch.setattr(planning, "MOST_TARGETS", len(declared))
    with capture_logs() as logs:
        assert plan_of(topology, FOUND) == declared
    assert NAME in {target.address for target in declared}
    [said] = logs
    assert (said["targets"], said["most"], said["names"]) == (len(declared) + 3, len(declared), 2)


def test_one_that_is_known_and_too_large_does_not_keep_the_coordinator_from_starting(
    world: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.hear(Status(name="dev-1", environment="dev", online=True, addresses=("10.10.0.10",)))
    monkeypatch.setattr(planning, "MOST_TARGETS", 0)
    world.estate.take_topology(world.estate.topology)
    assert world.estate.plan == build_plan(world.estate.topology, {}, {})
