"""What the two sides of a plan say is what the plan says, which has every source beside every host."""

from __future__ import annotations

from datetime import UTC, datetime

from coordinator.tasks import costs, declared_costs
from coordinator.topology.load import parse_topology
from reachability.plan import build_plan
from reachability.policy import Policy, matches
from reachability.sides import Sides
from reachability.topology import Topology
from reachability.uncontrolled import by_declaration
from reachability.vocabulary import Declared, Protocol

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ENVIRONMENTS = """\
version: 1
environments:
  one: {networks: [10.1.0.0/16], agents: {a: {addresses: [10.1.0.1]}, b: {}}, services: {own: {hosts: [10.1.0.1], ports: [tcp/9]}}}
  two:
    networks: [10.2.0.0/16, "fd00:2::/64"]
    agents: {c: {addresses: [10.2.0.1, "fd00:2::1", "fd00:2::2"]}}
    services:
      db: {hosts: [10.2.0.9], ports: [tcp/1, udp/7]}
      spared: {hosts: [10.2.0.9, 10.2.0.10], ports: [tcp/2], sweep: false}
  three:
    networks: ["fd00:3::/64", 10.3.0.0/16]
    services: {named: {hosts: [db.example, 10.3.0.4], ports: [udp/1]}, six: {hosts: ["fd00:3::9"], ports: [tcp/1]}}
  four: {networks: ["fd00:4::/64"], agents: {d: {addresses: ["fd00:4::1"]}}}
probing: {sweep: {every: 24h, ports: [tcp/1-1024, udp/1-9]}}
"""
ENDS = [
    *("one", "two", "three", "four", "one.a", "one.b", "two.c", "two.db", "two.spared", "three.named", "three.six"),
    *("10.2.0.0/24", "one.10.1.0.0/16", "three.fd00:3::/64", "four.d", "one.own", "10.0.0.0/8", "fd00:2::2/128"),
]
PORTS = ["tcp/1", "udp/1-9", "icmp", "tcp/1-65535", "udp/7"]
PAIRS = [(a, b) for a in ENDS for b in ENDS if a.split(".")[0] != b.split(".")[0]]


def topology(paths: str = "") -> Topology:
    return parse_topology((ENVIRONMENTS + paths).encode())


def path(number: int, source: str, destination: str, ports: str) -> str:
    return f'  - {{name: p{number}, from: "{source}", to: "{destination}", ports: [{ports}]}}\n'


def test_a_path_leads_somewhere_where_it_matches_a_target() -> None:
    paths = "".join(path(n, a, b, PORTS[n % len(PORTS)]) for n, (a, b) in enumerate(PAIRS))
    declared = topology("paths:\n" + paths)
    plan, sides = build_plan(declared, {}, {}), Sides(declared)
    slow = [p.name for p in declared.paths if any(matches(declared, p.source, p.destination, t) for t in plan)]
    assert [p.name for p in declared.paths if sides.lead(p)] == slow
    assert 0 < len(slow) < len(PAIRS)


def test_a_path_shows_what_gets_out_where_a_target_of_it_has_a_witness_or_a_service() -> None:
    different = set()
    for number, (source, destination) in enumerate(PAIRS):
        declared = topology("paths:\n" + path(number, source, destination, PORTS[number % len(PORTS)]))
        policy, sides = Policy(declared, NOW), Sides(declared)
        slow = {
            (target.source_environment, target.protocol)
            for target in build_plan(declared, {}, {})
            for ports, decision in policy.decide(target)
            if decision.declared is not Declared.DENIED and (target.witness or ports & target.service_ports)
        }
        assert {(e, p) for p in Protocol for e in sides.shows(declared.paths[0], p)} == slow, declared.paths[0]
        different.add(frozenset(slow))
    assert len(different) > len(PORTS)


def test_what_must_be_proven_is_counted_as_in_the_plan() -> None:
    declared = topology()
    plan = build_plan(declared, {}, {})
    lacking: dict[str, int] = {}
    for target in plan:
        if target.protocol is not Protocol.TCP:
            lacking[target.source_environment] = lacking.get(target.source_environment, 0) + len(target.required)
    found = by_declaration(Sides(declared))
    assert {one.environment: one.cells for one in found} == lacking
    assert {one.required for one in found} == {sum(len(target.required) for target in plan)}


def test_what_is_declared_costs_what_its_plan_costs() -> None:
    declared = topology()
    assert declared_costs(Sides(declared)) == costs(declared, build_plan(declared, {}, {}))
    without = parse_topology(ENVIRONMENTS.partition("probing")[0].encode())
    assert declared_costs(Sides(without)) == costs(without, build_plan(without, {}, {}))
    alone = parse_topology(b"version: 1\nenvironments: {one: {networks: [10.1.0.0/16], agents: {a: {}}}}\n")
    assert declared_costs(Sides(alone)) == costs(alone, build_plan(alone, {}, {})) == []
