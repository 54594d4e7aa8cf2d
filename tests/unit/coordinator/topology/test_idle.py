"""Paths that nobody observes: found with work in step with the file, and the same ones as by comparing all with all."""

import pytest

from coordinator.topology import idle
from coordinator.topology.idle import idle_paths
from coordinator.topology.load import parse_topology
from reachability import policy
from reachability.plan import build_plan
from reachability.policy import matches
from reachability.topology import Topology


def estate(environments: int, hosts: int) -> Topology:
    lines = ["version: 1", "environments:"]
    paths = ["paths:"]
    for number in range(environments):
        lines += [f"  e{number}:", f"    networks: [10.{number}.0.0/16]", "    agents:"]
        lines += [f"      a{number}: {{addresses: [10.{number}.0.1]}}", "    services:"]
        other = (number + 1) % environments
        for host in range(hosts):
            lines.append(f"      s{host}: {{hosts: [10.{number}.1.{host}], ports: [tcp/80]}}")
            paths.append(f"  - {{name: p{number}-{host}, from: e{other}, to: e{number}.s{host}, ports: [tcp/80]}}")
    return parse_topology("\n".join([*lines, *paths, ""]).encode())


@pytest.mark.parametrize("environments", [4, 8])
def test_the_work_is_in_step_with_the_hosts_of_an_environment(
    environments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(*args: object) -> bool:
        asked.append(args)
        return bool(policy.is_destination(*args))  # type: ignore[arg-type]

    monkeypatch.setattr(idle, "is_destination", counted)
    topology = estate(environments, 10)
    assert list(idle_paths(topology, build_plan(topology, {}, {}))) == []
    assert len(asked) == environments * 10 * 11  # each path's end with the ten hosts and the agent there


def test_they_are_those_that_match_no_target() -> None:
    lines = """\
version: 1
environments:
  one: {networks: [10.1.0.0/16], agents: {a: {addresses: [10.1.0.1]}, b: {}}}
  two: {networks: [10.2.0.0/16], agents: {c: {addresses: [10.2.0.1]}}, services: {db: {hosts: [10.2.0.9], ports: [tcp/1]}}}
  three:
    networks: ["fd00:3::/64", 10.3.0.0/16]
    services: {named: {hosts: [db.example], ports: [tcp/1]}, six: {hosts: ["fd00:3::9"], ports: [tcp/1]}}
paths:
""".splitlines()
    ends = [
        "one",
        "two",
        "three",
        "one.a",
        "one.b",
        "two.c",
        "two.db",
        "three.named",
        "three.six",
        "10.2.0.0/24",
        "one.10.1.0.0/16",
        "three.fd00:3::/64",
    ]
    pairs = [(a, b) for a in ends for b in ends if a.split(".")[0] != b.split(".")[0]]
    lines += [f'  - {{name: p{n}, from: "{a}", to: "{b}", ports: [tcp/1]}}' for n, (a, b) in enumerate(pairs)]
    topology = parse_topology("\n".join([*lines, ""]).encode())
    plan = build_plan(topology, {}, {})
    slow = [p.name for p in topology.paths if not any(matches(topology, p.source, p.destination, t) for t in plan)]
    assert [path.name for path in idle_paths(topology, plan)] == slow
    assert 0 < len(slow) < len(pairs)
