"""Of what IPsec carries in transport mode a capture sees nothing: a witness says so where nothing else came from the source."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from probes.packets.parse import ESP, Packet
from probes.packets.token import token
from probes.witness.witness import Witness
from reachability.vocabulary import Protocol
from tests.support.witness import HERE, KEY, OTHER, PORT, SOURCE, arm, packet, witness_of

PROBED = msgspec.structs.replace(
    arm("R1", KEY, "dev-1"), targets=tuple(replace(target, source=SOURCE) for target in arm("R1", KEY, "").targets)
)


def esp(source: str, at: float = 1.5) -> Packet:
    return Packet(at, True, True, "eth0", 4, source, HERE, 62, ESP)


def health(*packets: Packet) -> tuple[bool, str]:
    def feed(witness: Witness) -> None:
        for one in packets:
            witness.packet(one)

    [report] = witness_of(feed, PROBED)
    [found] = report.health
    return found.healthy, found.why


def test_where_only_ipsec_came_from_the_source_there_is_no_witness() -> None:
    healthy, why = health(esp(SOURCE))
    assert not healthy
    assert why == f"only IPsec came from {SOURCE}, and no capture sees what is in it"


def test_a_copy_in_the_clear_shows_that_what_the_round_sends_is_not_encrypted() -> None:
    copy = packet(SOURCE, 40_000, tok=token(KEY, HERE, Protocol.TCP, PORT, 0))
    assert health(esp(SOURCE), copy) == (True, "")


def test_ipsec_from_somebody_else_or_before_the_window_blinds_nobody() -> None:
    assert health(esp(OTHER)) == (True, "")
    assert health(esp(SOURCE, at=0.5)) == (True, "")
