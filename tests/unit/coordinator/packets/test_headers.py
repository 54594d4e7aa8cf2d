"""The header fields of packets that were kept, as scapy names them; whatever the bytes are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, IPv6
from scapy.packet import Raw

from coordinator.packets.headers import headers

V4, V6 = {"src": "10.10.0.10", "dst": "10.30.0.21"}, {"src": "fd00:10::10", "dst": "fd00:30::21"}
SYN = TCP(
    sport=40000, dport=5000, flags="S", seq=0x5F2A11C9, options=[("MSS", 1460), ("NOP", None), ("Timestamp", (77, 5))]
)
KEYS = set(headers(b""))


@pytest.mark.parametrize(
    ("packet", "said"),
    [
        (IP(**V4, ttl=63) / SYN, "SYN"),
        (IPv6(**V6, hlim=63) / SYN, "SYN"),
        (IP(**V4) / TCP(flags="SA", ack=7), "SYN-ACK"),
        (IP(**V4) / TCP(flags="RA"), "RST-ACK"),
        (IP(**V4) / TCP(flags=0), "none"),
        (IPv6(**V6) / UDP(sport=1, dport=53) / Raw(b"12345678"), "datagram, 8 bytes"),
        (IP(**V4) / ICMP(type=8, id=4, seq=2), "echo request"),
        (IP(**V4) / ICMP(type=0), "echo reply"),
        (IPv6(**V6) / ICMPv6EchoRequest(id=4), "echo request"),
        (IP(**V4) / ICMP(type=3, code=13) / IP(**V4) / SYN, "ICMP admin prohibited"),
        (IP(**V4) / ICMP(type=3, code=99), "ICMP type 3 code 99"),
        (IPv6(**V6) / ICMPv6DestUnreach(code=4) / IPv6(**V6) / SYN, "ICMP port unreachable"),
    ],
)
def test_what_it_is_in_a_word(packet: IP, said: str) -> None:
    found = headers(bytes(packet))
    assert found["said"] == said
    assert found["length"] == len(bytes(packet))
    assert (found["source"], found["destination"]) == (packet.src, packet.dst)
    assert set(found) == KEYS


def test_every_field_of_a_segment() -> None:
    found = headers(bytes(IP(**V4, ttl=63) / SYN))
    assert (found["source_port"], found["destination_port"], found["ttl"], found["protocol"]) == (
        40000,
        5000,
        63,
        "tcp",
    )
    assert (found["seq"], found["ack"], found["ts_val"], found["ts_ecr"]) == (0x5F2A11C9, 0, 77, 5)
    assert found["icmp_type"] is None


def test_an_echo_has_its_identifier() -> None:
    found = headers(bytes(IP(**V4) / ICMP(type=8, id=4, seq=2)))
    assert (found["protocol"], found["icmp_type"], found["icmp_code"]) == ("icmp", 8, 0)
    assert (found["icmp_id"], found["icmp_seq"], found["source_port"]) == (4, 2, None)


def test_of_a_payload_the_first_eight_bytes_are_shown() -> None:
    assert headers(bytes(IP(**V4) / UDP() / Raw(b"12345678 and more")))["payload"] == b"12345678".hex()
    assert headers(bytes(IP(**V4) / ICMP(type=8) / Raw(b"abcdefghi")))["payload"] == b"abcdefgh".hex()
    assert headers(bytes(IP(**V4) / SYN / Raw(b"abcdefghi")))["payload"] is None


def test_what_is_cut_short_keeps_what_was_read() -> None:
    whole = bytes(IP(**V4) / SYN)
    found = headers(whole[:20])
    assert (found["destination"], found["length"], found["seq"]) == ("10.30.0.21", len(whole), None)
    assert headers(whole[:44])["ts_val"] is None


@given(st.binary(max_size=128))
def test_no_bytes_break_it(data: bytes) -> None:
    assert set(headers(data)) == KEYS
    assert set(headers(b"\x45" + data)) == KEYS
