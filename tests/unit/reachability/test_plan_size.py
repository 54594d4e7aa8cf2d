"""The size of a plan is known before it is made, and is that of the plan that is made."""

from __future__ import annotations

import pytest

from coordinator.topology.load import parse_topology
from reachability.plan import build_plan
from reachability.plan_size import MOST_TARGETS, plan_size, too_large
from tests.support.topologies import large

ESTATE = """\
version: 1
environments:
  one: {networks: [10.1.0.0/16], agents: {a: {addresses: [10.1.0.1]}, b: {}}, services: {own: {hosts: [10.1.0.1], ports: [tcp/9]}}}
  two:
    networks: [10.2.0.0/16, "fd00:2::/64"]
    agents: {c: {addresses: [10.2.0.1, "fd00:2::1", "fd00:2::2"]}}
    services:
      db: {hosts: [10.2.0.9], ports: [tcp/1, udp/7]}
      spared: {hosts: [10.2.0.9, 10.2.0.10], ports: [tcp/2], sweep: false}
  three: {networks: ["fd00:3::/64", 10.3.0.0/16], services: {named: {hosts: [db.example, 10.3.0.4], ports: [udp/1]}}}
  four: {networks: ["fd00:4::/64"], agents: {d: {addresses: ["fd00:4::1"]}}}
"""


@pytest.mark.parametrize("reported", [(), ("10.1.0.7",), ("10.1.0.7", "10.1.0.8", "192.0.2.1")])
@pytest.mark.parametrize("leads_to", [(), ("10.3.0.4",), ("10.3.0.5", "fd00:3::5", "192.0.2.1")])
def test_it_is_that_of_the_plan(reported: tuple[str, ...], leads_to: tuple[str, ...]) -> None:
    topology = parse_topology(ESTATE.encode())
    known = {"b": reported}, {"db.example": leads_to}
    assert plan_size(topology, *known) == len(build_plan(topology, *known)) > 0


def test_the_most_is_said_with_the_sum() -> None:
    """Every agent tries every host of service with three protocols, but for its own environment's."""
    agents = hosts = 1000
    assert 3 * agents * hosts == MOST_TARGETS
    assert too_large(large(agents, hosts)) == ""
    assert too_large(large(agents, hosts + 1)).startswith(
        f"its plan has {3 * agents * (hosts + 1):,} targets, of 1,000 agents that try the hosts of each other and "
        f"{hosts + 1:,} hosts of services with 3 protocols; the most is 3,000,000: "
    )
