"""Which packets a witness keeps for whoever asks later."""

from __future__ import annotations

import pytest

from probes.packets.parse import Packet
from probes.packets.token import token
from probes.witness.witness import Witness
from reachability.arrival import WitnessReport
from reachability.vocabulary import PacketRole, Protocol
from tests.support.witness import ECHO_REPLY, HERE, KEY, OTHER, PORT, SOURCE, arm, packet, witness_of


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
def test_what_arrived_is_kept_with_what_the_host_answered_and_a_refusal_of_it(protocol: Protocol) -> None:
    mine = packet(SOURCE, 40_000, protocol, token(KEY, HERE, protocol, PORT, 2))
    strange, elsewhere = packet(OTHER, 40_001, protocol), packet(OTHER, 40_002, protocol, back=True)
    answer = packet(SOURCE, 40_000, protocol, back=True)
    answer.flags = 0x12
    refusal = Packet(
        at=2.0, incoming=False, to_host=False, interface="eth0", family=4, source=HERE, destination=SOURCE, ttl=64,
        protocol=1, icmp_type=3, icmp_code=3, quote=mine, raw=b"refused",
    )  # fmt: skip

    def feed(witness: Witness) -> None:
        for one in (mine, strange, answer, refusal, elsewhere):
            witness.packet(one)

    [report] = witness_of(feed, arm("R1", KEY, "dev-1", protocol))
    cell = [row for row in report.kept if row.what is not PacketRole.INSTEAD]
    assert [(row.what, row.copy, row.data) for row in cell] == [
        (PacketRole.ARRIVED, 2, mine.raw),
        (PacketRole.STRANGE, None, strange.raw[: 60 if protocol is Protocol.TCP else 28]),
        (PacketRole.ANSWERED, 2, answer.raw),
        (PacketRole.ANSWERED, 2, b"refused"),
    ]
    assert {(row.target, row.port) for row in cell} == {(1, PORT)}


def test_a_witness_that_saw_nothing_says_how_it_listened_and_what_it_saw_instead() -> None:
    [report] = witness_of(lambda _: None, arm("R1", KEY, "dev-1"))
    assert [(row.what, row.data) for row in report.kept] == [(PacketRole.INSTEAD, ECHO_REPLY.raw[:28])]
    assert report.armed_ms > 0
    assert report.listened_s > report.armed_ms / 1000


def test_a_late_copy_is_kept_with_the_correction() -> None:
    late = packet(SOURCE, 40_000, tok=token(KEY, HERE, Protocol.TCP, PORT, 0))
    corrections: list[WitnessReport] = []

    def after(witness: Witness) -> None:
        witness.packet(late)
        corrections.extend(witness.tick())

    witness_of(lambda _: None, arm("R1", KEY, "dev-1"), then=after)
    [correction] = corrections
    assert [(row.what, row.data) for row in correction.kept] == [(PacketRole.ARRIVED, late.raw)]
