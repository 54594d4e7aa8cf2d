"""Packets built, read and recognised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.packets.build import Template
from probes.packets.parse import IPV4, IPV6, PACKET_HOST, Packet, hops, parse
from probes.packets.token import echo_reply, echo_request, inside_key, tcp_fields, token
from probes.packets.token_index import CellId, Keyring
from probes.source.cell import verify
from reachability.vocabulary import Protocol, Reason, State
from tests.support.sweep_frames import ENDS, FAMILIES, KEY, PROTOCOLS

V4 = ("10.10.0.10", "10.30.0.21")
V6 = ("fd00:10::10", "fd00:30::21")
BOTH = pytest.mark.parametrize("ends", [V4, V6], ids=["v4", "v6"])


def read(data: bytes, ends: tuple[str, str]) -> Packet:
    packet = parse(data, PACKET_HOST, "eth0", IPV6 if ":" in ends[0] else IPV4, 1.0)
    assert packet is not None
    return packet


@BOTH
@pytest.mark.parametrize("protocol", list(Protocol))
def test_a_probe_carries_its_token_and_right_checksums(ends: tuple[str, str], protocol: Protocol) -> None:
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    port = 0 if protocol is Protocol.ICMP else 5000
    tok = token(KEY, ends[1], protocol, port, 3)
    data = Template(*ends, protocol, tail=b"tail").build(40000, port, tok)
    again = (IPv6 if ":" in ends[0] else IP)(data)
    for layer in (again, again.payload):
        for field in ("chksum", "cksum"):
            if field in layer.fields:
                assert layer.fields[field] is not None
                delattr(layer, field)
    assert bytes(again) == data, "scapy computes the same checksums"
    packet = read(data, ends)
    assert (packet.source, packet.destination, packet.dport) == (*ends, port)
    assert Keyring(KEY).copy_of(CellId(ends[1], protocol, port), packet) == 3
    assert Keyring(inside_key(KEY)).copy_of(CellId(ends[1], protocol, port), packet) is None
    assert Keyring(KEY).copy_of(CellId(ends[1], protocol, port + 1), packet) is None
    assert hops(packet.ttl) == 0


@given(st.binary(max_size=200), st.sampled_from([IPV4, IPV6]))
def test_garbage_is_read_or_left_alone(data: bytes, ethertype: int) -> None:
    packet = parse(data, PACKET_HOST, "eth0", ethertype, 0.0)
    assert packet is None or packet.family in {4, 6}


@BOTH
@given(st.integers(0, 120), st.binary(min_size=1, max_size=4))
def test_a_damaged_probe_is_read_or_left_alone(ends: tuple[str, str], at: int, junk: bytes) -> None:
    data = bytearray(Template(*ends, Protocol.TCP).build(40000, 80, bytes(8)))
    data[at : at + len(junk)] = junk
    parse(bytes(data[: max(1, at)]), PACKET_HOST, "eth0", IPV6 if ":" in ends[0] else IPV4, 0.0)
    parse(bytes(data), PACKET_HOST, "eth0", IPV6 if ":" in ends[0] else IPV4, 0.0)


def test_a_quoted_probe_is_recognised() -> None:
    from scapy.layers.inet import ICMP, IP

    probe = Template(*V4, Protocol.TCP).build(40000, 80, token(KEY, V4[1], Protocol.TCP, 80, 0))
    error = bytes(IP(src="10.10.0.1", dst=V4[0]) / ICMP(type=3, code=13) / probe[:28])
    packet = read(error, V4)
    assert packet.quote is not None
    sequence, _ = tcp_fields(token(KEY, V4[1], Protocol.TCP, 80, 0))
    assert (packet.quote.sport, packet.quote.dport, packet.quote.seq) == (40000, 80, sequence)


def answer(flags: str, ack: int, stamp: int | None = None) -> Packet:
    from scapy.layers.inet import IP, TCP

    options = [("Timestamp", (7, stamp))] if stamp is not None else []
    return read(
        bytes(IP(src=V4[1], dst=V4[0], ttl=63) / TCP(sport=80, dport=40000, flags=flags, ack=ack, options=options)), V4
    )


def test_an_answer_is_believed_only_with_the_token() -> None:
    sequence, stamp = tcp_fields(token(KEY, V4[1], Protocol.TCP, 80, 2))

    def believed(packet: Packet, copy: int = 2) -> tuple[State, Reason] | None:
        return verify(KEY, V4[1], Protocol.TCP, 80, copy, packet)

    assert believed(answer("SA", (sequence + 1) & 0xFFFFFFFF)) == (State.OPEN, Reason.SYN_ACK)
    assert believed(answer("RA", (sequence + 1) & 0xFFFFFFFF)) == (State.CLOSED, Reason.RESET)
    assert believed(answer("SA", 4711, stamp)) == (State.OPEN, Reason.SYN_ACK), "a firewall rewrote the sequence number"
    assert believed(answer("SA", 4711)) is None
    assert believed(answer("RA", sequence)) is None
    assert believed(answer("SA", (sequence + 1) & 0xFFFFFFFF), copy=3) is None


def test_the_echo_is_keyed() -> None:
    request = echo_request(KEY, "10.0.0.10", 8883, "R1", 70)
    assert echo_reply(KEY, request) != echo_reply(bytes(16), request)
    assert echo_request(KEY, "10.0.0.10", 8883, "R2", 70) != request
    assert len(request) <= 64


@FAMILIES
@PROTOCOLS
def test_many_packets_are_the_same_as_one_by_one(family: int, protocol: Protocol) -> None:
    source, address = ENDS[family]
    template, numbers = Template(source, address, protocol), np.array([1, 80, 443, 65535], np.uint16)
    toks = np.frombuffer(b"".join(token(KEY, address, protocol, int(p), 3) for p in numbers), np.uint8).reshape(-1, 8)
    many = template.build_many(40000, numbers, toks)
    assert [row.tobytes() for row in many] == [
        template.build(40000, int(p), token(KEY, address, protocol, int(p), 3)) for p in numbers
    ]
