"""Ends of paths that are ranges: of one environment, by its networks or by its name before the range."""

import pytest

from coordinator.topology.load import parse_topology
from reachability.plan import build_plan
from reachability.policy import Policy
from reachability.topology import Selector, Topology
from reachability.vocabulary import Declared, Protocol
from tests.support.sample import NOW

ESTATE = """\
version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}
  stage: {networks: [10.30.0.0/24, "fd00:30::/64"], agents: {stage-1: {addresses: [10.30.0.10, "fd00:30::10"]}}}
  prod: {networks: [%s], agents: {prod-1: {addresses: [10.30.0.11]}}}
paths:
  - {name: lab, from: %s, to: "%s", ports: [tcp/22]}
"""


def estate(end: str, prod: str = "10.30.0.0/24", start: str = "dev") -> Topology:
    return parse_topology((ESTATE % (prod, start, end)).encode())


def allowed(topology: Topology) -> set[str]:
    """The addresses that dev-1 may reach over SSH."""
    policy = Policy(topology, NOW)
    return {
        target.address
        for target in build_plan(topology, {}, {})
        if target.agent == "dev-1" and target.protocol is Protocol.TCP
        for ports, decision in policy.decide(target)
        if 22 in ports and decision.declared is Declared.ALLOWED
    }


@pytest.mark.parametrize(
    ("end", "prod", "addresses"),
    [
        ("stage.10.30.0.0/24", "10.30.0.0/24", {"10.30.0.10"}),
        ("prod.10.30.0.0/24", "10.30.0.0/24", {"10.30.0.11"}),
        ("prod.10.30.0.11", "10.30.0.0/24", {"10.30.0.11"}),
        ("prod.10.0.0.0/8", "10.30.0.0/24", {"10.30.0.11"}),
        ("stage.fd00:30::10", "10.30.0.0/24", set()),  # dev-1 has no IPv6
        ("10.30.0.0/24", "10.30.0.8/29", {"10.30.0.10"}),  # prod's is narrower: the range is stage's
        ("10.30.0.8/29", "10.30.0.8/29", {"10.30.0.11"}),
        ("10.30.0.0/16", "10.30.0.8/29", {"10.30.0.10", "10.30.0.11"}),  # beyond both
    ],
)
def test_a_range_means_one_environment(end: str, prod: str, addresses: set[str]) -> None:
    assert allowed(estate(end, prod)) == addresses


def test_it_is_told_as_it_was_written() -> None:
    [path] = estate("prod.fd00:0:31::/64", prod='10.30.0.0/24, "fd00:0:31::/64"').paths
    assert path.destination.text == "prod.fd00:0:31::/64"
    assert (path.destination.environment, str(path.destination.network)) == ("prod", "fd00:0:31::/64")
    [path] = estate("10.30.0.8/29", "10.30.0.8/29").paths
    assert path.destination == Selector("10.30.0.8/29", environment="prod", network=path.destination.network)


def test_a_range_at_the_source_is_one_environments_too() -> None:
    [path] = estate("stage", start="10.10.0.0/24").paths
    assert path.source.environment == "dev"
