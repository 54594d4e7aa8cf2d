"""What is known of one cell while it is probed."""

from __future__ import annotations

from probes.packets.parse import Packet
from probes.source.cell import new_cell
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, State
from tests.support.witness import GATEWAY, HERE, PORT, SOURCE


def test_a_refusal_of_the_kernels_own_try_counts_without_being_a_copy_of_the_rounds() -> None:
    cell = new_cell(
        Target(id=1, environment="prod", address=HERE, protocol=Protocol.UDP, ports=PortSet.of([PORT])), PORT, ()
    )
    refusal = Packet(
        at=1.0, incoming=True, to_host=True, interface="eth0", family=4, source=GATEWAY, destination=SOURCE, ttl=63,
        protocol=1, icmp_type=3, icmp_code=13,
    )  # fmt: skip
    cell.take_refusal(refusal)
    assert (cell.state, cell.reason, cell.refused_by, cell.refused) == (
        State.FILTERED,
        Reason.ADMIN_PROHIBITED,
        GATEWAY,
        0,
    )
