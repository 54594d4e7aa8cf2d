"""Reading captured packets: from layer 3 bytes to the few fields that matter. Hostile bytes give None, never an error."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
ESP, AH = 50, 51
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
PACKET_HOST, PACKET_OUTGOING = 0, 4
IPV4, IPV6 = 0x0800, 0x86DD
ECHO_REQUEST, ECHO_REPLY = (8, 128), (0, 129)
QUOTING = {ICMP: {3, 11, 12}, ICMP6: {1, 2, 3, 4}}  # ICMP errors: they quote the packet that they are about
PAYLOAD = 64
NAT_TRAVERSAL = 4500  # ESP in UDP (RFC 3948); a packet of IKE there begins with four bytes of 0
_FRAGMENT, _OPTIONS = 44, (0, 43, 60)  # IPv6 extension headers: hop-by-hop options, routing, destination options
EXTENSIONS = (*_OPTIONS, _FRAGMENT, AH)
_MOST_EXTENSIONS = 8


@dataclass(slots=True)
class Packet:
    """One packet. `at` is monotonic seconds at reading; ports are 0 for ICMP; `ts_val`, `ts_ecr` are -1 when absent."""

    at: float
    incoming: bool
    to_host: bool  # addressed to this host's link address
    interface: str
    family: int
    source: str
    destination: str
    ttl: int
    protocol: int
    sport: int = 0
    dport: int = 0
    flags: int = 0
    seq: int = 0
    ack: int = 0
    ts_val: int = -1
    ts_ecr: int = -1
    mss: int = 0  # 0: no such option
    dscp: int = 0
    payload: bytes = b""
    icmp_type: int = -1
    icmp_code: int = -1
    icmp_id: int = 0
    icmp_seq: int = 0
    quote: Packet | None = None
    raw: bytes = b""  # layer 3, as far as it was captured
    start: int = 0  # where in `raw` the transport header begins, behind extension headers

    @property
    def is_syn(self) -> bool:
        """Whether it opens a TCP connection."""
        return self.protocol == TCP and self.flags & (SYN | ACK) == SYN

    @property
    def is_echo_request(self) -> bool:
        """Whether it asks for an echo."""
        return self.icmp_type in ECHO_REQUEST and self.protocol in (ICMP, ICMP6)

    @property
    def is_encrypted(self) -> bool:
        """Whether only who has its key can tell what is in it (IPsec)."""
        if self.protocol != UDP:
            return self.protocol == ESP
        both = self.sport == self.dport == NAT_TRAVERSAL
        return both and len(self.payload) > 4 and self.payload[:4] != bytes(4)  # noqa: PLR2004

    @property
    def is_echo_reply(self) -> bool:
        """Whether it answers an echo request."""
        return self.icmp_type in ECHO_REPLY and self.protocol in (ICMP, ICMP6)


def parse(data: bytes, pkttype: int, interface: str, ethertype: int, at: float) -> Packet | None:
    """Read a packet of a cooked packet socket; None for what is not whole, a later fragment, or another protocol."""
    packet = Packet(at, pkttype != PACKET_OUTGOING, pkttype == PACKET_HOST, interface, 0, "", "", 0, 0, raw=data)
    try:
        if ethertype == IPV4:
            return _ipv4(data, packet, depth=0)
        if ethertype == IPV6:
            return _ipv6(data, packet, depth=0)
    except (struct.error, IndexError, ValueError):
        return None
    return None


def hops(ttl: int) -> int:
    """How many routers a packet crossed, taking 64, 128 or 255 as what it started with."""
    start = 64 if ttl <= 64 else 128 if ttl <= 128 else 255  # noqa: PLR2004 - the three usual initial values
    return start - ttl


def _ipv4(data: bytes, packet: Packet, depth: int) -> Packet | None:
    length = (data[0] & 15) * 4
    if data[0] >> 4 != 4 or length < 20 or struct.unpack_from("!H", data, 6)[0] & 0x1FFF:  # noqa: PLR2004
        return None
    packet.family = 4
    packet.source = socket.inet_ntop(socket.AF_INET, data[12:16])
    packet.destination = socket.inet_ntop(socket.AF_INET, data[16:20])
    packet.ttl, packet.protocol, packet.dscp = data[8], data[9], data[1] >> 2
    total = struct.unpack_from("!H", data, 2)[0]
    packet.start = length
    return _transport(data[length : total if length < total <= len(data) else len(data)], packet, depth)


def _ipv6(data: bytes, packet: Packet, depth: int) -> Packet | None:
    if data[0] >> 4 != 6 or len(data) < 40:  # noqa: PLR2004
        return None
    packet.family = 6
    packet.source = socket.inet_ntop(socket.AF_INET6, data[8:24])
    packet.destination = socket.inet_ntop(socket.AF_INET6, data[24:40])
    packet.protocol, packet.ttl, packet.dscp = data[6], data[7], (data[0] & 15) << 2 | data[1] >> 6
    end = 40 + struct.unpack_from("!H", data, 4)[0]
    packet.start = 40
    return _transport(data[40 : min(end, len(data))], packet, depth)


def _transport(data: bytes, packet: Packet, depth: int) -> Packet | None:
    inner = _behind_extensions(data, packet)
    if inner is None:
        return None
    data = inner
    if packet.protocol == TCP:
        return _tcp(data, packet, quoted=depth > 0)
    if packet.protocol == UDP:
        packet.sport, packet.dport = struct.unpack_from("!HH", data)
        packet.payload = bytes(data[8 : 8 + PAYLOAD])
        return packet
    if packet.protocol in (ICMP, ICMP6):
        return _icmp(data, packet, depth)
    return packet if packet.protocol == ESP else None


def _behind_extensions(data: bytes, packet: Packet) -> bytes | None:
    """What follows the extension headers (RFC 8200 §4, RFC 4302), with its protocol; None for a later fragment or a cut-off one."""
    at = 0
    for _ in range(_MOST_EXTENSIONS):
        if packet.protocol == AH:
            length = (data[at + 1] + 2) * 4
        elif packet.family == 4:  # noqa: PLR2004
            break
        elif packet.protocol == _FRAGMENT:
            if struct.unpack_from("!H", data, at + 2)[0] & 0xFFF8:
                return None
            length = 8
        elif packet.protocol in _OPTIONS:
            length = (data[at + 1] + 1) * 8
        else:
            break
        packet.protocol = data[at]
        at += length
    packet.start += at
    return data[at:] if at <= len(data) else None


def _tcp(data: bytes, packet: Packet, *, quoted: bool) -> Packet:
    packet.sport, packet.dport, packet.seq = struct.unpack_from("!HHI", data)
    if quoted and len(data) < 20:  # noqa: PLR2004 - an ICMP error may quote eight bytes only
        return packet
    packet.ack, offset, packet.flags = struct.unpack_from("!IBB", data, 8)
    _options(data[20 : (offset >> 4) * 4], packet)
    return packet


def _options(options: bytes, packet: Packet) -> None:
    """Walk the options as far as they are whole (RFC 9293 §3.1, RFC 7323 for timestamps)."""
    at = 0
    while at + 1 < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        kind, length = options[at], options[at + 1]
        if length < 2 or at + length > len(options):  # noqa: PLR2004
            return
        if kind == 8 and length == 10:  # noqa: PLR2004
            packet.ts_val, packet.ts_ecr = struct.unpack_from("!II", options, at + 2)
        elif kind == 2 and length == 4:  # noqa: PLR2004
            packet.mss = struct.unpack_from("!H", options, at + 2)[0]
        at += length


def _icmp(data: bytes, packet: Packet, depth: int) -> Packet:
    packet.icmp_type, packet.icmp_code = data[0], data[1]
    if packet.is_echo_request or packet.is_echo_reply:
        packet.icmp_id, packet.icmp_seq = struct.unpack_from("!HH", data, 4)
        packet.payload = bytes(data[8 : 8 + PAYLOAD])
    elif packet.icmp_type in QUOTING[packet.protocol] and depth == 0:
        inner = Packet(packet.at, not packet.incoming, False, packet.interface, 0, "", "", 0, 0)
        try:
            packet.quote = (_ipv4 if packet.family == 4 else _ipv6)(data[8:], inner, 1)  # noqa: PLR2004
        except (struct.error, IndexError, ValueError):
            packet.quote = None
    return packet
