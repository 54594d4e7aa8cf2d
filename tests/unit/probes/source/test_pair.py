"""Which endpoints of the pair are asked again and again, and by what, so that a ban between the two shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from probes.packets.parse import Packet
from probes.packets.route import Route
from probes.protocols import udp_payloads
from probes.source.cell import new_cell
from probes.source.controls import Controls
from probes.source.cycle import Source
from probes.source.pair import of_the_pair
from probes.sweep.raw import SweepSource
from reachability.observation import ControlTarget, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, State
from tests.support.network import END, play
from tests.support.network import target as tcp

ROUTE = Route("eth0", "10.10.0.1", "10.10.0.10", b"")
TARGET = Target(
    id=1,
    environment="prod",
    address="10.30.0.10",
    protocol=Protocol.UDP,
    ports=PortSet.parse("53,123,9000"),
    witness="prod-1",
)


def test_a_service_that_answered_its_own_request_alone_is_asked_by_it_again() -> None:
    """A resolver says nothing to a token: the closed ports beside it would come out unproven, as if it had banned the source."""
    cells = []
    for port, hops in ((53, None), (123, 1), (9000, None)):
        cell = new_cell(TARGET, port, (ROUTE,))
        cell.state, cell.reason, cell.hops = State.OPEN, Reason.UDP_RESPONSE, hops
        cells.append(cell)
    asked = {}
    for cell in cells:
        (series,) = of_the_pair([cell], Controls(), 1.0)[1]
        asked[series.port] = series.request
    # 123 answered a keyed copy, and 9000 has no request of its own: what it answered through the kernel was the token.
    assert asked == {53: udp_payloads.REQUESTS[53], 123: b"", 9000: b""}


def test_what_no_witness_looks_for_is_asked_again_by_what_it_answered() -> None:
    cell = new_cell(replace(TARGET, witness=""), 53, (ROUTE,))
    cell.state, cell.reason, cell.hops = State.OPEN, Reason.UDP_RESPONSE, 1
    (series,) = of_the_pair([cell], Controls(), 1.0)[1]
    assert series.request == udp_payloads.REQUESTS[53]


def test_each_host_that_answered_has_a_control_of_its_own() -> None:
    """Its loss is its own: two endpoints of the first, and one of each further host."""
    cells = []
    for last in range(10, 14):
        target = replace(TARGET, address=f"10.30.0.{last}", protocol=Protocol.TCP)
        for port in 53, 123, 9000:
            cell = new_cell(target, port, (ROUTE,))
            cell.state, cell.reason = State.OPEN, Reason.SYN_ACK
            cells.append(cell)
    made = of_the_pair(cells, Controls(), 1.0)[1]
    assert Counter(series.address for series in made) == {
        "10.30.0.10": 2,
        "10.30.0.11": 1,
        "10.30.0.12": 1,
        "10.30.0.13": 1,
    }


@pytest.mark.parametrize(
    ("protocol", "state", "asked"),
    [
        (Protocol.TCP, State.CLOSED, [State.CLOSED]),
        (Protocol.TCP, State.OPEN, [State.OPEN]),
        (Protocol.UDP, State.CLOSED, []),
    ],
)
def test_a_closed_port_answers_again_over_tcp(protocol: Protocol, state: State, asked: list[State]) -> None:
    """Of the port-unreachables to UDP a host sends few in a second: their end is no ban."""
    cell = new_cell(replace(TARGET, protocol=protocol), 53, (ROUTE,))
    cell.state = state
    assert [series.expect for series in of_the_pair([cell], Controls(), 1.0)[1]] == asked


def test_open_ports_are_asked_before_closed_ones() -> None:
    cells = []
    for port, state in ((1, State.OPEN), (2, State.OPEN), (3, State.CLOSED)):
        cell = new_cell(replace(TARGET, protocol=Protocol.TCP), port, (ROUTE,))
        cell.state = state
        cells.append(cell)
    assert [series.port for series in of_the_pair(cells, Controls(), 1.0)[1]] == [1, 2]


@pytest.mark.parametrize("kind", [Source, SweepSource])
def test_a_ban_that_drops_tcp_alone_shows_where_only_closed_ports_answer(kind: type[Source]) -> None:
    """The coordinator still answers, and nothing of the pair is open: what was closed a moment ago is silent now."""
    seen: list[Packet] = []

    def answers(packet: Packet) -> float | None:
        if packet.destination == END:
            seen.append(packet)
            return 0.0004 if len(seen) <= 40 and packet.dport <= 30 else None
        return 0.0004

    ran = play(
        answers,
        kind=kind,
        resets=lambda packet: packet.destination == END,
        targets=(tcp("1-60"),),
        controls=(ControlTarget(address="10.0.0.1", protocol=Protocol.TCP, port=8883),),
    )
    closed = [o for o in ran.report.observations if o.state is State.CLOSED]
    silent = [o for o in ran.report.observations if o.state is State.FILTERED]
    assert closed
    assert silent
    assert all(o.covered < o.sent for o in silent), "what was sent into the ban counts for nothing"
