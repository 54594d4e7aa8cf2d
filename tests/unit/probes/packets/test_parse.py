"""What stands between the IP header and the transport's: IPv6 extension headers, and IPsec."""

from __future__ import annotations

import struct

import pytest

from probes.packets.build import Template
from probes.packets.columns import split
from probes.packets.parse import AH, ESP, IPV4, IPV6, PACKET_HOST, TCP, UDP, Packet, parse
from probes.packets.retained import _headers
from probes.packets.token import token
from reachability.vocabulary import Protocol
from tests.support.sweep_frames import ENDS, KEY, batch

HOP_BY_HOP, ROUTING, FRAGMENT, OPTIONS = 0, 43, 44, 60


def read(data: bytes, ethertype: int = IPV6) -> Packet | None:
    return parse(data, PACKET_HOST, "eth0", ethertype, 1.0)


def probe(family: int = 6, protocol: Protocol = Protocol.TCP) -> bytes:
    source, destination = ENDS[family]
    return Template(source, destination, protocol).build(40_000, 22, token(KEY, destination, protocol, 22, 0))


def behind(data: bytes, *extensions: tuple[int, bytes]) -> bytes:
    """The IPv6 packet with these headers, (number, all behind its first byte) each, before the transport's."""
    following, put = data[6], b""
    for number, rest in reversed(extensions):
        put = bytes([following]) + rest + put
        following = number
    length = struct.pack("!H", len(data) - 40 + len(put))
    return data[:4] + length + bytes([following]) + data[7:40] + put + data[40:]


PAD = b"\x00\x01\x04" + bytes(4)  # eight bytes of options, all padding
ATOMIC = b"\x00\x00\x00" + b"\x12\x34\x56\x78"
AUTHENTICATED = b"\x04" + bytes(22)  # 24 bytes


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP, Protocol.ICMP])
@pytest.mark.parametrize(
    "extensions",
    [
        [(HOP_BY_HOP, PAD)],
        [(OPTIONS, b"\x01\x01\x0c" + bytes(12))],
        [(FRAGMENT, ATOMIC)],
        [(ROUTING, b"\x00\x04\x00" + bytes(4))],
        [(AH, AUTHENTICATED)],
        [(HOP_BY_HOP, PAD), (OPTIONS, PAD), (FRAGMENT, ATOMIC), (AH, AUTHENTICATED)],
    ],
)
def test_a_packet_behind_extension_headers_reads_as_without(
    protocol: Protocol, extensions: list[tuple[int, bytes]]
) -> None:
    plain, whole = read(probe(protocol=protocol)), read(data := behind(probe(protocol=protocol), *extensions))
    assert plain is not None
    assert whole is not None
    assert whole.start == plain.start + len(data) - len(plain.raw)
    for name in ("protocol", "source", "destination", "sport", "dport", "flags", "seq", "ts_val", "payload", "icmp_id"):
        assert getattr(whole, name) == getattr(plain, name), name
    assert len(data) - _headers(whole) == len(plain.raw) - _headers(plain), (
        "what is kept of a stranger's ends there too"
    )


def test_the_columns_leave_it_to_be_read_by_itself() -> None:
    assert split(batch(6, [behind(probe(), (OPTIONS, PAD))])) == []


def test_a_later_fragment_a_chain_without_end_and_one_that_is_cut_off_are_none() -> None:
    later = b"\x00" + struct.pack("!H", 8 << 3) + bytes(4)
    assert read(behind(probe(), (FRAGMENT, later))) is None
    assert read(behind(probe(), *[(OPTIONS, PAD)] * 9)) is None
    assert read(behind(probe(), (OPTIONS, b"\xff" + bytes(6)))) is None
    assert read(behind(probe(), (OPTIONS, PAD))[:40]) is None


def test_ipv4_is_read_behind_an_authentication_header_alone() -> None:
    data = probe(4)
    inner = bytes([data[9]]) + AUTHENTICATED + data[20:]
    head = bytearray(data[:20])
    head[2:4], head[9] = struct.pack("!H", 20 + len(inner)), AH
    found = read(bytes(head) + inner, IPV4)
    assert found is not None
    assert (found.protocol, found.dport) == (TCP, 22)
    head[9] = OPTIONS
    assert read(bytes(head) + inner, IPV4) is None


def test_what_is_encrypted_is_told_from_what_is_not() -> None:
    head = bytearray(probe(4)[:20])
    head[2:4], head[9] = struct.pack("!H", 60), ESP
    found = read(bytes(head) + bytes(range(40)), IPV4)
    assert found is not None
    assert found.is_encrypted
    assert (found.sport, found.dport) == (0, 0)
    for ports, payload, encrypted in (
        ((4500, 4500), b"\x00\x00\x10\x01" + bytes(20), True),
        ((4500, 4500), bytes(24), False),  # a key exchange
        ((4500, 4500), b"\xff", False),  # keeps the way through NAT open
        ((40_000, 4500), bytes(range(1, 25)), False),  # a probe
    ):
        data = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
        head[2:4], head[9] = struct.pack("!H", 20 + len(data)), UDP
        found = read(bytes(head) + data, IPV4)
        assert found is not None
        assert found.is_encrypted == encrypted, (ports, payload)
