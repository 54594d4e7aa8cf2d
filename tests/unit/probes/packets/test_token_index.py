"""Which copy a datagram is: its token may stand anywhere in a request of a service's own."""

from __future__ import annotations

import random

import pytest

from probes.packets.build import Template
from probes.packets.parse import IPV4, PACKET_HOST, PAYLOAD, Packet, parse
from probes.packets.token import ALL_COPIES, token
from probes.packets.token_index import MOST_SETS, CellId, Keyring
from reachability.vocabulary import Protocol

KEY, HERE, THERE, PORT = b"k" * 16, "10.10.0.10", "10.30.0.10", 514
CELL = CellId(THERE, Protocol.UDP, PORT)
LENGTHS = [9, 26, PAYLOAD]


def datagram(payload: bytes) -> Packet:
    data = Template(HERE, THERE, Protocol.UDP, body=payload).build(40000, PORT, bytes(8))
    packet = parse(data, PACKET_HOST, "eth0", IPV4, 1.0)
    assert packet is not None
    assert packet.payload == payload
    return packet


@pytest.mark.parametrize("length", LENGTHS)
def test_a_token_is_found_wherever_it_stands(length: int) -> None:
    rest = random.Random(length).randbytes(length - 8)
    for copy in 0, 3, ALL_COPIES - 1:
        tok = token(KEY, *CELL, copy)
        for before in {0, 1, len(rest) // 2, len(rest)}:
            packet = datagram(rest[:before] + tok + rest[before:])
            assert Keyring(KEY).copy_of(CELL, packet) == copy


@pytest.mark.parametrize("length", LENGTHS)
def test_other_peoples_datagrams_are_no_copy(length: int) -> None:
    keyring, drawn = Keyring(KEY), random.Random(length)
    straddling = token(KEY, *CELL, 0)[4:] + token(KEY, *CELL, 1)[:4]  # two tokens' halves are none
    for _ in range(20):
        assert keyring.copy_of(CELL, datagram(drawn.randbytes(length))) is None
    assert keyring.copy_of(CELL, datagram(b"." * (length - 8) + straddling)) is None


def test_many_cells_are_known_again() -> None:
    keyring = Keyring(KEY)
    cells = [CellId(THERE, Protocol.UDP, port) for port in range(1, MOST_SETS + 3)]
    for cell in (*cells, *cells[:2]):
        assert keyring.copy_of(cell, datagram(b"a name: " + token(KEY, *cell, 5))) == 5
        assert keyring.copy_of(cell, datagram(b"what somebody else sends")) is None
