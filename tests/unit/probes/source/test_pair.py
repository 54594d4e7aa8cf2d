"""Which endpoints of the pair are asked again and again, and by what, so that a ban between the two shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from probes.packets.route import Route
from probes.protocols import udp_payloads
from probes.source.cell import new_cell
from probes.source.controls import Controls
from probes.source.pair import of_the_pair
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, State

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
