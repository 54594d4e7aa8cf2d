"""What one agent, or a firewall before it, can say of a round costs the coordinator no more than there are ports."""

from dataclasses import replace

import pytest

from reachability import overlay as overlays
from reachability.arrival import ArrivalRow, Untokened, WitnessReport
from reachability.challenge import MOST_GROUPS, Challenged, ours
from reachability.evidence import conclude
from reachability.observation import Observation, SourceReport, Target
from reachability.overlay import overlay
from reachability.ports import ALL_PORTS, PortSet
from reachability.round_data import RoundData, RoundSpec
from reachability.vocabulary import Arrival, Protocol, Reason, RoundKind, Schedule, State

THERE, TCP = "10.30.0.21", Protocol.TCP
SLOTS = (1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0)
ON = tuple(number * 150 for number, on in enumerate(SLOTS) if on)
FLOW = Untokened(
    address=THERE, protocol=TCP, port=22, came_from="10.10.0.9", source_port=1, count=10, times_ms=ON, largest=10
)


def spec() -> RoundSpec:
    target = Target(
        id=1, environment="prod", address=THERE, protocol=TCP, ports=PortSet.parse("1-65535"), witness="prod-1"
    )
    return RoundSpec(
        round="r",
        kind=RoundKind.NORMAL,
        schedule=Schedule.SWEEP,
        source="dev-1",
        source_environment="dev",
        destination="prod",
        targets=(target,),
    )


def observed(ports: str, **more: object) -> Observation:
    seen = Observation(
        target=1,
        source_address="10.10.0.10",
        address=THERE,
        protocol=TCP,
        state=State.OPEN,
        reason=Reason.SYN_ACK,
        ports=PortSet.parse(ports),
        sent=4,
        covered=4,
        via="eth0 direct",
    )
    return replace(seen, **more)  # type: ignore[arg-type]


def test_packets_that_lie_years_apart_are_not_laid_out_in_memory() -> None:
    assert ours(SLOTS, 150.0, [replace(FLOW, times_ms=(*ON[:9], 2**53 - 1))]) is Challenged.UNDECIDED


def test_more_flows_than_could_be_ours_decide_nothing() -> None:
    flows = [replace(FLOW, source_port=n, times_ms=tuple(at + n for at in ON)) for n in range(MOST_GROUPS + 1)]
    assert ours(SLOTS, 150.0, flows) is Challenged.UNDECIDED


def test_a_flow_without_a_port_says_nothing() -> None:
    witness = WitnessReport(round="r", agent="prod-1", untokened=(replace(FLOW, port=0),))
    source = SourceReport(round="r", agent="dev-1", observations=(observed("22"),))
    (cell,) = conclude([RoundData(spec=spec(), source=source, witnesses=(witness,))]).cells
    assert cell[2].state is State.OPEN


def test_every_port_may_look_different_on_both_sides() -> None:
    ports = range(1, 6001)
    source = SourceReport(round="r", agent="dev-1", observations=tuple(observed(str(n), note=f"{n}") for n in ports))
    rows = tuple(
        ArrivalRow(target=1, address=THERE, protocol=TCP, copies=2, ports=PortSet.of([n]), mss=n) for n in ports
    )
    late = WitnessReport(round="r", agent="prod-1", arrivals=rows[:10], late=True)
    data = RoundData(
        spec=spec(), source=source, witnesses=(WitnessReport(round="r", agent="prod-1", arrivals=rows), late)
    )
    cells = conclude([data]).cells
    assert [(str(found), e.note, e.mss, e.arrived) for _, found, e in cells[8:12]] == [
        ("9", "9", 9, 4),
        ("10", "10", 10, 4),
        ("11", "11", 11, 2),
        ("12", "12", 12, 2),
    ]
    assert {e.arrival for _, _, e in cells} == {Arrival.SEEN}
    assert len(cells) == len(ports)


@pytest.mark.parametrize("many", [0, 1 << 30])
def test_port_by_port_is_the_same(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlays, "_MANY", many)
    first = [(PortSet.parse("1-10"), "a"), (PortSet.parse("5"), "b"), (PortSet.parse("20-30"), "a")]
    second = [(PortSet.parse("9-25"), "x"), (PortSet.parse("7"), None)]
    found = overlay(ALL_PORTS, first, second)
    assert [(str(ports), values) for ports, values in found] == [
        ("1-4,6-8,26-30", ("a", None)),
        ("5", ("b", None)),
        ("9-10,20-25", ("a", "x")),
        ("11-19", (None, "x")),
        ("31-65535", (None, None)),
    ]
