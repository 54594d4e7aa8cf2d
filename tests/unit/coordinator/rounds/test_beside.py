"""Declared endpoints as source controls, where the firewall lets agents through to the broker's TCP port alone."""

from __future__ import annotations

from datetime import UTC, datetime

from coordinator.rounds.beside import Sort, beside, controls_of, shown
from coordinator.rounds.requests import arms, go, narrowed, targets_of
from coordinator.state.reports import has_part
from coordinator.state.roster import AgentState
from coordinator.topology.load import parse_topology
from reachability.followups import FollowUp
from reachability.observation import ControlResult, Target
from reachability.plan import build_plan
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.vocabulary import ControlKind, Protocol, RoundKind, Schedule

TOPOLOGY = parse_topology(
    b"""version: 1
environments:
  dev:
    networks: [10.10.0.0/24, "fd00:10::/64"]
    agents: {dev-1: {addresses: [10.10.0.10, "fd00:10::10"]}}
  stage:
    networks: [10.20.0.0/24]
    agents: {stage-1: {addresses: [10.20.0.10]}}
    services:
      feed: {hosts: [10.20.0.10, 10.20.0.21], ports: [tcp/8080, udp/9100-9200]}
  prod:
    networks: [10.30.0.0/24, "fd00:30::/64"]
    agents: {prod-1: {addresses: [10.30.0.10, "fd00:30::10"]}}
    services:
      dns: {hosts: ["fd00:30::21"], ports: [udp/53]}
paths:
  - {name: feed, from: dev, to: stage.feed, owner: me, justification: needed}
  - {name: dns, from: dev, to: prod.dns, owner: me, justification: needed}
  - {name: watch, from: prod, to: stage, expect: allowed, owner: me, justification: needed}
""",
    "topology.yaml",
)
PLAN = build_plan(TOPOLOGY, {}, {})
NOW = datetime(2026, 1, 1, tzinfo=UTC)
V4, V6 = "10.10.0.10", "fd00:10::10"


def agents(**raw: bool) -> dict[str, AgentState]:
    known = {"dev-1": True, "stage-1": True, "prod-1": True} | {
        name.replace("_", "-"): is_raw for name, is_raw in raw.items()
    }
    return {
        name: AgentState(name=name, environment=name.partition("-")[0], online=True, raw=is_raw)
        for name, is_raw in known.items()
    }


def round_of(source: str, destination: str, without: frozenset[Sort] = frozenset(), **raw: bool) -> RoundSpec:
    there = agents(**raw)
    (targets,) = targets_of(TOPOLOGY, PLAN, source, destination, Schedule.CYCLE, there)
    return RoundSpec(
        round="R1",
        kind=RoundKind.NORMAL,
        schedule=Schedule.CYCLE,
        source=source,
        source_environment=source.partition("-")[0],
        destination=destination,
        targets=targets,
        beside=beside(TOPOLOGY, PLAN, targets, there, source=source, without=without, now=NOW),
    )


def places(targets: tuple[Target, ...]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for target in targets:
        assert len(target.ports) == 1
        found.setdefault((target.protocol.value, target.source), []).append((target.address, target.witness))
    return found


def test_each_sort_has_the_endpoints_that_a_path_lets_through_and_those_with_a_witness_first() -> None:
    spec = round_of("dev-1", "prod")
    assert places(spec.beside) == {
        ("tcp", V4): [("10.20.0.10", "stage-1"), ("10.20.0.21", "")],
        ("udp", V4): 4 * [("10.20.0.10", "stage-1")],
        ("udp", V6): [("fd00:30::21", "")],
    }
    assert len({target.id for target in (*spec.targets, *spec.beside)}) == len(spec.targets) + len(spec.beside)


def test_a_path_to_a_whole_environment_lets_any_port_of_a_witness_serve_and_the_echo() -> None:
    serving = places(round_of("prod-1", "dev").beside)
    assert serving["icmp", "10.30.0.10"] == [("10.20.0.10", "stage-1"), ("10.20.0.21", "")]
    assert serving["udp", "10.30.0.10"] == 4 * [("10.20.0.10", "stage-1")]


def test_an_agent_that_is_away_or_cannot_capture_is_no_witness() -> None:
    assert {
        witness for found in places(round_of("dev-1", "prod", stage_1=False).beside).values() for _, witness in found
    } == {""}


def test_nothing_is_sent_beside_for_what_the_coordinator_has_answered() -> None:
    answered = (
        ControlResult(
            address="10.0.0.10",
            protocol=Protocol.UDP,
            kind=ControlKind.COORDINATOR,
            source_address=V4,
            sent=9,
            answered=8,
        ),
        ControlResult(
            address="10.0.0.10", protocol=Protocol.TCP, kind=ControlKind.COORDINATOR, source_address=V4, sent=9
        ),
        ControlResult(
            address="10.20.0.10",
            protocol=Protocol.TCP,
            kind=ControlKind.DECLARED,
            source_address=V4,
            sent=9,
            answered=9,
        ),
    )
    without = shown(answered)
    assert without == {Sort(Protocol.UDP, 4, V4)}
    assert set(places(round_of("dev-1", "prod", without).beside)) == {("tcp", V4), ("udp", V6)}


def test_those_without_a_witness_are_asked_as_controls_and_no_others() -> None:
    """A service's own request carries no token: a witness that listens for another's round would be unsettled by it."""
    controls = controls_of(round_of("prod-1", "dev").beside)
    assert {c.kind for c in controls} == {ControlKind.DECLARED}
    assert {c.address for c in controls} == {"10.20.0.21"}
    assert {c.port for c in controls if c.protocol is Protocol.ICMP} == {0}
    assert all(c.port for c in controls if c.protocol is not Protocol.ICMP)
    assert {c.source for c in controls} == {"10.30.0.10"}, "no path leads from prod over IPv6"
    away = controls_of(round_of("prod-1", "dev", stage_1=False).beside)
    assert "10.20.0.10" in {c.address for c in away}


def test_their_witnesses_take_part_and_hear_of_their_own_networks() -> None:
    spec = round_of("dev-1", "prod")
    asked = arms(TOPOLOGY, spec, bytes(16), agents(), None)
    assert set(asked) == {"stage-1", "prod-1"}
    assert {target.address for target in asked["stage-1"].targets} == {"10.20.0.10"}
    assert asked["stage-1"].networks == ("10.20.0.0/24",)
    assert asked["prod-1"].networks == ("10.30.0.0/24", "fd00:30::/64")
    assert has_part(spec, "stage-1")
    order = go(spec, bytes(16), (), (), None)
    assert [target for target in order.targets if target.beside] == [t for t in spec.beside if t.witness]


def test_a_cell_of_the_round_is_not_sent_twice_but_beside_a_follow_up_without_it() -> None:
    spec = round_of("dev-1", "stage")
    assert not any(
        target.beside for target in go(spec, bytes(16), (), (), None).targets if target.protocol is Protocol.TCP
    )
    (other,) = (t for t in spec.targets if (t.address, t.protocol) == ("10.20.0.10", Protocol.TCP))
    lacking = Target(
        id=other.id,
        environment="stage",
        address=other.address,
        protocol=Protocol.TCP,
        ports=PortSet.of([22]),
        source=V4,
    )
    more = narrowed(spec, FollowUp(kind=RoundKind.NORMAL, targets=(lacking,)), "R2")
    assert [
        t.ports.first for t in go(more, bytes(16), (), (), None).targets if t.beside and t.protocol is Protocol.TCP
    ] == [8080]


def test_a_challenge_has_the_wire_to_itself() -> None:
    spec = round_of("dev-1", "prod")
    question = narrowed(spec, FollowUp(kind=RoundKind.CHALLENGE, targets=spec.targets[:1]), "R2")
    assert not any(target.beside for target in go(question, bytes(16), (), (), None).targets)
    assert "stage-1" not in arms(TOPOLOGY, question, bytes(16), agents(), None)
