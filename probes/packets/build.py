"""Builds packets: scapy lays out a template once per way and protocol, then only the fields that differ are written.

The only module that imports scapy. It costs 0.3 s and 25 MB, so the packet child alone imports it.
"""

from __future__ import annotations

import random
import socket
import struct

import numpy as np
from numpy.typing import NDArray

from probes.packets.token import tcp_fields
from reachability.topology import family
from reachability.vocabulary import Protocol
from wire.process.slim import without

with without("cryptography"):  # 9 MB, for protocols that are not spoken here
    from scapy.config import conf

    # A router's tables can be long, and nothing here asks scapy for a way.
    conf.route_autoload = conf.route6_autoload = False
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet6 import (
        ICMPv6EchoRequest,
        ICMPv6ND_NA,
        ICMPv6ND_NS,
        ICMPv6NDOptDstLLAddr,
        ICMPv6NDOptSrcLLAddr,
        IPv6,
    )
    from scapy.layers.l2 import ARP
    from scapy.packet import Raw

TTL = 64
TOKEN = bytes(8)
PADDING = bytes(16)
_TIMESTAMP = 28  # behind the TCP header's start: MSS and SACK-permitted come first, as a Linux SYN has them
_CHECKSUM = {Protocol.TCP: 16, Protocol.UDP: 6, Protocol.ICMP: 2}


class Template:
    """A packet from one source to one destination of which ports and token are written anew for each copy."""

    def __init__(
        self,
        source: str,
        destination: str,
        protocol: Protocol,
        tail: bytes = b"",
        body: bytes = b"",
        ttl: int = TTL,
        *,
        flags: str = "S",
    ) -> None:
        """`tail` follows the token in a UDP payload; `body` is a whole UDP payload, which has no token then.

        `ttl` is IPv6's hop limit, too.
        """
        self.protocol = protocol
        self._tokened = not body
        six = family(destination) == 6  # noqa: PLR2004
        network = (
            IPv6(src=source, dst=destination, hlim=ttl) if six else IP(src=source, dst=destination, ttl=ttl, flags="DF")
        )
        raw = bytes(network / _transport(protocol, body or TOKEN + tail, flags, six=six))
        self._at = 40 if six else 20
        data = bytearray(raw)
        struct.pack_into("!H", data, self._at + _CHECKSUM[protocol], 0)
        self._data = bytes(data)
        self._sum = _sum16(data[self._at :])
        if six or protocol is not Protocol.ICMP:
            addresses = data[8:40] if six else data[12:20]
            number = data[6] if six else data[9]
            self._sum += _sum16(addresses) + number + len(data) - self._at

    def build(self, local: int, port: int, token: bytes) -> bytes:
        """Layer 3 bytes. `local` is the source port, or the identifier of an ICMP echo; `port` is its sequence number."""
        data, at = bytearray(self._data), self._at
        total = self._sum + local + port
        if self._tokened:
            total += sum(struct.unpack("!4H", token))
        match self.protocol:
            case Protocol.TCP:
                sequence, stamp = tcp_fields(token)
                struct.pack_into("!HHI", data, at, local, port, sequence)
                struct.pack_into("!I", data, at + _TIMESTAMP, stamp)
            case Protocol.UDP:
                struct.pack_into("!HH", data, at, local, port)
                if self._tokened:
                    data[at + 8 : at + 16] = token
            case Protocol.ICMP:
                struct.pack_into("!HH", data, at + 4, local, port)
                data[at + 8 : at + 16] = token
        total = (total & 0xFFFF) + (total >> 16)
        total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        if self.protocol is Protocol.UDP and total == 0:
            total = 0xFFFF
        struct.pack_into("!H", data, at + _CHECKSUM[self.protocol], total)
        return bytes(data)

    @property
    def length(self) -> int:
        """Bytes of a packet, layer 3 up."""
        return len(self._data)

    def build_many(self, local: int, ports: NDArray[np.uint16], tokens: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The same for many ports of TCP or UDP: (n, length) bytes. `tokens` has eight bytes a row."""
        data = np.tile(np.frombuffer(self._data, np.uint8), (len(ports), 1))
        at, big = self._at, ports.astype(">u2")
        total = tokens.view(">u2").sum(axis=1, dtype=np.uint32) + np.uint32(self._sum + local) + ports
        total = (total & 0xFFFF) + (total >> 16)
        total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        data[:, at : at + 2] = np.frombuffer(struct.pack("!H", local), np.uint8)
        data[:, at + 2 : at + 4] = big.view(np.uint8).reshape(-1, 2)
        if self.protocol is Protocol.TCP:
            data[:, at + 4 : at + 8] = tokens[:, :4]
            data[:, at + _TIMESTAMP : at + _TIMESTAMP + 4] = tokens[:, 4:]
        else:
            data[:, at + 8 : at + 16] = tokens
            total[total == 0] = 0xFFFF
        place = at + _CHECKSUM[self.protocol]
        data[:, place : place + 2] = total.astype(">u2").view(np.uint8).reshape(-1, 2)
        return data


def who_has(own: bytes, source: str, hop: str) -> tuple[bytes, bytes]:
    """An ARP request or a neighbour solicitation for `hop`, and the link address to send it to."""
    mac = own.hex(":")
    if family(hop) == 4:  # noqa: PLR2004
        return bytes(ARP(op=1, hwsrc=mac, psrc=source, pdst=hop)), b"\xff" * 6
    tail = socket.inet_pton(socket.AF_INET6, hop)[-3:]
    group = socket.inet_ntop(socket.AF_INET6, bytes.fromhex("ff0200000000000000000001ff") + tail)
    question = IPv6(src=source, dst=group, hlim=255) / ICMPv6ND_NS(tgt=hop) / ICMPv6NDOptSrcLLAddr(lladdr=mac)
    return bytes(question), b"\x33\x33\xff" + tail


def is_at(data: bytes, hop: str) -> bytes | None:
    """The link address that an ARP reply or neighbour advertisement gives for `hop`; None for any other packet."""
    try:
        if family(hop) == 4:  # noqa: PLR2004
            reply = ARP(data)
            found = reply.hwsrc if reply.op == 2 and reply.psrc == hop else ""  # noqa: PLR2004
        else:
            packet = IPv6(data)
            # Of hop limit 255 is only what no router has forwarded (RFC 4861, 7.1.2).
            told = packet.hlim == 255 and packet.haslayer(ICMPv6ND_NA) and packet[ICMPv6ND_NA].tgt == hop  # noqa: PLR2004
            found = packet[ICMPv6NDOptDstLLAddr].lladdr if told and packet.haslayer(ICMPv6NDOptDstLLAddr) else ""
        return bytes.fromhex(found.replace(":", "")) if found else None
    except (struct.error, IndexError, ValueError, TypeError):
        return None  # half a packet, or an address of another length, which scapy gives as bytes


def _transport(protocol: Protocol, payload: bytes, flags: str, *, six: bool) -> object:
    match protocol:
        case Protocol.TCP:
            options = [
                ("MSS", 1440 if six else 1460),
                ("SAckOK", b""),
                ("Timestamp", (0, 0)),
                ("NOP", None),
                ("WScale", 7),
            ]
            return TCP(sport=0, dport=0, seq=0, flags=flags, window=random.choice((64240, 65535)), options=options)  # noqa: S311
        case Protocol.UDP:
            return UDP(sport=0, dport=0) / Raw(payload)
        case Protocol.ICMP:
            return (
                ICMPv6EchoRequest(id=0, seq=0, data=TOKEN + PADDING)
                if six
                else ICMP(type=8, id=0, seq=0) / Raw(TOKEN + PADDING)
            )


def _sum16(data: bytes | bytearray) -> int:
    padded = bytes(data) + b"\0" * (len(data) & 1)
    return sum(struct.unpack(f"!{len(padded) // 2}H", padded))
