"""The header fields of a packet that was kept, by name: what `explain` shows of it. Bytes that make no sense give fewer."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Any

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
V6_HEADER = 40
TOKEN = 8  # bytes: this much of a payload is shown
_PROTOCOLS = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmp"}
_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
_ICMP = {(8, 0): "echo request", (0, 0): "echo reply"}
_ICMP6 = {(128, 0): "echo request", (129, 0): "echo reply"}
_UNREACHABLE = {
    (3, 0): "net unreachable", (3, 1): "host unreachable", (3, 3): "port unreachable", (3, 9): "net prohibited",
    (3, 10): "host prohibited", (3, 13): "admin prohibited", (11, 0): "TTL exceeded",
}  # fmt: skip
_UNREACHABLE6 = {
    (1, 0): "no route", (1, 1): "admin prohibited", (1, 3): "address unreachable", (1, 4): "port unreachable",
    (1, 5): "policy", (1, 6): "reject route", (3, 0): "hop limit exceeded",
}  # fmt: skip

Headers = dict[str, Any]


def headers(data: bytes) -> Headers:
    """The fields of layer 3 bytes, a key each; null for what the packet lacks, or what is cut off.

    `payload` is the first eight bytes (hex) of a datagram or echo; `length` is the whole
    packet's, as its IP header says; `said` names it in a word or two.
    """
    found: Headers = dict.fromkeys(
        ("source", "destination", "protocol", "source_port", "destination_port", "ttl", "length", "flags", "seq", "ack",
         "ts_val", "ts_ecr", "icmp_type", "icmp_code", "icmp_id", "icmp_seq", "payload", "said")
    )  # fmt: skip
    found |= {"said": "packet", "length": len(data)}
    try:
        number, rest = _network(data, found)
        found["protocol"] = _PROTOCOLS.get(number)
        if number == TCP:
            _tcp(rest, found)
        elif number == UDP:
            found["source_port"], found["destination_port"], length = struct.unpack_from("!HHH", rest)
            found["said"] = f"datagram, {max(0, length - 8)} bytes"
            found["payload"] = rest[8 : 8 + TOKEN].hex()
        elif number in (ICMP, ICMP6):
            kind = found["icmp_type"], found["icmp_code"] = rest[0], rest[1]
            echo, refusal = (_ICMP, _UNREACHABLE) if number == ICMP else (_ICMP6, _UNREACHABLE6)
            if kind in echo:
                found["icmp_id"], found["icmp_seq"] = struct.unpack_from("!HH", rest, 4)
                found["payload"] = rest[8 : 8 + TOKEN].hex()
            found["said"] = echo.get(kind) or f"ICMP {refusal.get(kind) or f'type {kind[0]} code {kind[1]}'}"
    except (struct.error, IndexError, ValueError):
        pass  # it was cut short: what was read so far stands
    return found


def _network(data: bytes, found: Headers) -> tuple[int, bytes]:
    """Protocol number, and what is behind the IP header."""
    if data[0] >> 4 == 4:  # noqa: PLR2004
        start = (data[0] & 15) * 4
        found["length"], found["ttl"] = struct.unpack_from("!H", data, 2)[0], data[8]
        found["source"], found["destination"] = str(IPv4Address(data[12:16])), str(IPv4Address(data[16:20]))
        return data[9], data[start:]
    found["length"], found["ttl"] = V6_HEADER + struct.unpack_from("!H", data, 4)[0], data[7]
    found["source"], found["destination"] = str(IPv6Address(data[8:24])), str(IPv6Address(data[24:40]))
    return data[6], data[V6_HEADER:]


def _tcp(rest: bytes, found: Headers) -> None:
    found["source_port"], found["destination_port"], found["seq"], found["ack"], offset, flags = struct.unpack_from(
        "!HHIIBB", rest
    )
    found["flags"] = found["said"] = "-".join(name for bit, name in enumerate(_FLAGS) if flags >> bit & 1) or "none"
    options, at = rest[20 : (offset >> 4) * 4], 0
    while at + 1 < len(options) and options[at] != 0:  # RFC 9293 §3.1
        kind, length = options[at], 1 if options[at] == 1 else options[at + 1]
        if length < 1 or (kind != 1 and length < 2):  # noqa: PLR2004
            return
        if kind == 8 and at + 10 <= len(options):  # noqa: PLR2004 - RFC 7323
            found["ts_val"], found["ts_ecr"] = struct.unpack_from("!II", options, at + 2)
        at += length
