"""What has just answered on the pair shows a ban when it does no more; a port that was closed meanwhile shows none."""

from __future__ import annotations

import pytest

from coordinator.rounds.source_controls import answered_controls
from coordinator.topology.load import parse_topology
from reachability.compare import key_of
from reachability.matrix import Matrix
from reachability.observation import Target
from reachability.plan import build_plan
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.vocabulary import ControlKind, Protocol, RoundKind, Schedule, State
from tests.support.sample import evidence, judged

HERE, THERE, OTHER = "10.10.0.10", "10.30.0.10", "10.30.0.11"
TCP, UDP = Protocol.TCP, Protocol.UDP
PLAN = build_plan(
    parse_topology(
        b"""version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}
  prod:
    networks: [10.30.0.0/24]
    agents: {prod-1: {addresses: [10.30.0.10]}, prod-2: {addresses: [10.30.0.11]}}
""",
        "topology.yaml",
    ),
    {},
    {},
)
SPEC = RoundSpec(
    round="R", kind=RoundKind.NORMAL, schedule=Schedule.CYCLE, source="dev-1", source_environment="dev",
    destination="prod", targets=(),
)  # fmt: skip

Ports = tuple[str, Protocol, str]  # of an address


def opened(found: list[Ports]) -> Matrix:
    """A matrix in which these answered."""
    matrix = Matrix()
    for address, protocol, ports in found:
        (one,) = (t for t in PLAN if (t.agent, t.address, t.protocol) == ("dev-1", address, protocol))
        said = judged(evidence(one, State.OPEN), "R", run="", at=1.0)
        matrix.update(key_of(one), PortSet.parse(ports), said)
    return matrix


def tried(address: str, protocol: Protocol, ports: str) -> Target:
    """What the round was silent about, and tries again."""
    return Target(id=1, environment="prod", address=address, protocol=protocol, ports=PortSet.parse(ports), source=HERE)


@pytest.mark.parametrize(
    ("found", "again", "asked"),
    [
        pytest.param([(THERE, TCP, "22"), (THERE, TCP, "8000")], [], {22}, id="nothing is tried again"),
        pytest.param(
            [(THERE, TCP, "22"), (THERE, TCP, "8000")], [(THERE, TCP, "22-23")], {8000}, id="closed, another answered"
        ),
        pytest.param(
            [(THERE, TCP, "22"), (THERE, TCP, "8000")],
            [(THERE, TCP, "22"), (THERE, TCP, "8000")],
            {22},
            id="all silent: a ban",
        ),
        pytest.param(
            [(THERE, TCP, "22"), (THERE, UDP, "53")], [(THERE, TCP, "22")], {22, 53}, id="another protocol says nothing"
        ),
        pytest.param(
            [(THERE, TCP, "22"), (OTHER, TCP, "80")], [(THERE, TCP, "22")], {22, 80}, id="another host says nothing"
        ),
    ],
)
def test_what_a_round_was_silent_about_is_no_control_where_another_port_answered(
    found: list[Ports], again: list[Ports], asked: set[int]
) -> None:
    controls = answered_controls(PLAN, opened(found), SPEC, 0.0, [tried(*each) for each in again])
    assert {control.port for control in controls} == asked
    assert {(control.kind, control.source) for control in controls} == {(ControlKind.PAIR, HERE)}
