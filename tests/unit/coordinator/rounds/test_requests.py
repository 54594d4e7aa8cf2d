"""Who is asked for what: inside controls, targets, and where nothing is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.rounds.requests import inside_agent, targets_of
from coordinator.rounds.source_controls import answered_controls, declared_controls
from coordinator.state.roster import AgentState
from coordinator.topology.load import parse_topology
from reachability.compare import key_of
from reachability.matrix import Matrix
from reachability.plan import PlanTarget, build_plan
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.topology import Path, PortSpec, Selector
from reachability.vocabulary import Protocol, RoundKind, Schedule, State
from tests.support.sample import NOW, evidence, judged

TOPOLOGY = parse_topology(
    b"""version: 1
environments:
  dev:
    networks: [10.10.0.0/24, "fd00:10::/64"]
    agents: {dev-1: {addresses: [10.10.0.10, "fd00:10::10"]}}
  prod:
    networks: [10.30.0.0/24, "fd00:30::/64"]
    agents:
      four: {addresses: [10.30.0.10]}
      both: {addresses: [10.30.0.11, "fd00:30::11"]}
      last: {addresses: [10.30.0.12, "fd00:30::12"]}
    services:
      registry: {hosts: [10.30.0.21, "fd00:30::21"], ports: [tcp/5000]}
""",
    "topology.yaml",
)
PLAN = build_plan(TOPOLOGY, {}, {})


def agents(**raw: bool) -> dict[str, AgentState]:
    return {
        name: AgentState(name=name, environment="prod", online=True, raw=sends_raw) for name, sends_raw in raw.items()
    }


def target(address: str) -> PlanTarget:
    return next(t for t in PLAN if (t.agent, t.address, t.protocol) == ("dev-1", address, "tcp"))


def test_it_is_one_that_has_an_address_of_the_hosts_family() -> None:
    everybody = agents(four=True, both=True, last=True)
    assert inside_agent(target("10.30.0.21"), everybody) == "four"
    assert inside_agent(target("fd00:30::21"), everybody) == "both"
    assert inside_agent(target("10.30.0.10"), everybody) == "both", "not the one on the host itself"


def test_one_that_sends_raw_packets_is_preferred_and_one_that_is_away_is_not_asked() -> None:
    assert inside_agent(target("10.30.0.21"), agents(four=False, both=False, last=True)) == "last"
    assert inside_agent(target("10.30.0.21"), agents(both=False)) == "both"
    assert inside_agent(target("fd00:30::21"), agents(four=True)) == ""


def test_the_plan_names_the_one_that_is_asked_when_everybody_is_there() -> None:
    there = {**agents(four=True, both=True, last=True), "dev-1": AgentState(name="dev-1", environment="dev")}
    (asked,) = targets_of(TOPOLOGY, PLAN, "dev-1", "prod", Schedule.CYCLE, there)
    planned = {(t.address, t.protocol): t.inside for t in PLAN if t.agent == "dev-1"}
    assert {(t.address, t.protocol): t.inside for t in asked} == planned


def test_nothing_is_sent_to_an_address_that_dns_alone_places_in_the_environment() -> None:
    """Neither as a target nor as a control, whatever was declared of its service or was observed there before."""
    everything = Selector("dev", environment="dev"), Selector("prod", environment="prod"), None
    declared = replace(TOPOLOGY, paths=(Path("p", *everything),))
    plan = [t for t in PLAN if (t.agent, t.destination) == ("dev-1", "prod") and t.service_ports]
    matrix = Matrix()
    for one in plan:
        matrix.update(key_of(one), one.service_ports, judged(evidence(one, State.OPEN), "R", run="", at=1.0))
    there = {"dev-1": AgentState(name="dev-1", environment="dev", online=True, raw=True)}
    spec = RoundSpec(
        round="R", kind=RoundKind.NORMAL, schedule=Schedule.SWEEP, source="dev-1", source_environment="dev",
        destination="prod", targets=(),
    )  # fmt: skip
    for astray in (False, True):
        found = [replace(one, elsewhere=astray) for one in plan]
        sent = (
            targets_of(declared, found, "dev-1", "prod", Schedule.CYCLE, there),
            declared_controls(declared, found, spec, NOW),
            answered_controls(found, matrix, spec, 0.0),
        )
        assert [bool(each) for each in sent] == [not astray] * 3
    assert Protocol.TCP in {one.protocol for one in plan}


def test_what_no_agent_witnesses_has_a_canary_for_each_protocol_with_ports_that_nobody_declares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = {"dev-1": AgentState(name="dev-1", environment="dev", online=True, raw=True)}
    service = TOPOLOGY.environments["prod"].services["registry"]
    busy = replace(service, ports=PortSpec(tcp=PortSet.of([50_000]), udp=PortSet.of([50_001])))
    prod = replace(TOPOLOGY.environments["prod"], services={"registry": busy})
    declared = replace(TOPOLOGY, environments={**TOPOLOGY.environments, "prod": prod})
    drawn = iter([50_000, 50_001] * 1000)
    monkeypatch.setattr("coordinator.rounds.requests.random.randint", lambda *_: next(drawn))
    (asked,) = targets_of(declared, build_plan(declared, {}, {}), "dev-1", "prod", Schedule.CYCLE, there)
    assert {(t.protocol, t.canary) for t in asked if t.address == "10.30.0.21"} == {
        (Protocol.TCP, 50_001),
        (Protocol.UDP, 50_000),
        (Protocol.ICMP, 0),
    }
    assert {t.canary for t in asked if t.witness} == {0}
