"""Packets without a token: whose traffic unsettles a port, and whose is nobody's business."""

from __future__ import annotations

import msgspec
import pytest

from probes.packets.token import token
from reachability.vocabulary import Protocol, RoundKind
from tests.support.witness import GATEWAY, HERE, KEY, PORT, SOURCE, arm, packet, witness_of

NEIGHBOUR = "10.30.0.77"


@pytest.mark.parametrize(
    ("came_from", "counts"),
    [
        (SOURCE, True),
        ("10.10.0.99", True),  # of the source's own network, whoever it is there: it is outside this one
        ("192.0.2.1", True),
        (GATEWAY, True),  # inside, and others may be hidden behind it (NAT)
        (NEIGHBOUR, False),  # inside, and no gateway: it unsettles no port
    ],
)
@pytest.mark.parametrize("kind", [RoundKind.NORMAL, RoundKind.CHALLENGE])
def test_what_comes_from_outside_unsettles_a_port(came_from: str, counts: bool, kind: RoundKind) -> None:  # noqa: FBT001
    round_ = msgspec.structs.replace(arm("R1", KEY, "dev-1"), kind=kind)
    [report] = witness_of(lambda witness: witness.packet(packet(came_from, 999)), round_)
    assert [flow.came_from for flow in report.untokened] == [came_from] * counts
    assert report.arrivals == (), "it is nobody's copy"


def test_a_token_counts_wherever_it_comes_from() -> None:
    """A firewall may hide the source behind any address of the environment; what it does not take off stays proof."""
    tok = token(KEY, HERE, Protocol.TCP, PORT, 0)
    [report] = witness_of(lambda witness: witness.packet(packet(NEIGHBOUR, 999, tok=tok)), arm("R1", KEY, "dev-1"))
    assert [(row.came_from, row.copies) for row in report.arrivals] == [(NEIGHBOUR, 1)]
