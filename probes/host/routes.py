"""Where a packet goes: interface, source address, next hop and its link address, as the kernel says. Nothing is guessed."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from probes.host import netlink
from probes.packets.parse import IPV6
from probes.packets.route import Route
from reachability.topology import family
from reachability.vocabulary import Reason

ETH_P_ARP = 0x0806
IFF_LOOPBACK, IFF_NOARP = 0x08, 0x80
RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH = 18, 22, 26, 30
RTN_UNICAST, RTN_LOCAL = 1, 2
RTNH_DOWN = 0x01 | 0x10  # dead, or its link has no carrier
NUD_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
ASK_TIMES, ASK_S = 3, 0.3
KEEP_S = 20.0  # what was asked for by ourselves
RTM_F_FIB_MATCH = 0x2000  # answer with the entry of the table itself: all its next hops
_REQUEST = 1
_XDP, _XDP_ATTACHED = 43, 2  # IFLA_*
_DST, _SRC, _OIF, _GATEWAY, _PREFSRC, _MULTIPATH, _VIA = 1, 2, 4, 5, 7, 9, 18  # RTA_*


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Why there is no way out."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Link:
    """An interface."""

    name: str
    flags: int
    address: bytes


class Routes:
    """Asks the kernel by netlink at each lookup; only the link addresses that it had to ask for itself are kept a while."""

    def __init__(self) -> None:
        self._asked: dict[tuple[int, str], tuple[float, bytes | None]] = {}
        self._links: dict[int, Link] = {}

    async def lookup(self, destination: str, source: str = "") -> tuple[Route, ...] | NoRoute:
        """The ways to a destination: the kernel's, by each of its next hops; or where it has none, every gateway that it knows.

        `source` is the address to send from, "" for the kernel's choice; OSError when netlink fails.
        """
        if source and source not in self.local():
            return NoRoute(Reason.LOCAL_ERROR)
        try:
            kind, oif, hop, preferred = _route_get(destination, source)
        except (
            OSError
        ):  # unreachable, prohibited, or simply none: what a gateway does with the packet is another question
            ways = [
                (oif, gateway, source or self._own(oif, gateway)) for oif, gateway in self.gateways(family(destination))
            ]
        else:
            if kind == RTN_LOCAL:
                return (Route("lo", "", source or preferred or destination, b"", local=True),)
            if kind != RTN_UNICAST:  # a broadcast or multicast address is not an endpoint
                return NoRoute(Reason.LOCAL_ERROR)
            ways = [(oif, hop, source or preferred)]
            # Another interface has another address, which is a source of its own unless one is asked for.
            further = [each for each in _next_hops(destination, source) if each != (oif, hop)]
            ways += [(index, gateway, source or preferred) for index, gateway in further if source or index == oif]
        routes = []
        for oif, gateway, own in ways:
            link = await self.link(oif, gateway or destination, own) if own else None
            if link is not None:
                routes.append(Route(self.name(oif), gateway, own, link))
        if routes:
            return tuple(routes)
        return NoRoute(Reason.NO_NEIGHBOUR if ways else Reason.NO_ROUTE)

    def gateways(self, ip: int) -> list[tuple[int, str]]:
        """(interface index, address) of every gateway in any routing table, for IPv4 or IPv6."""
        known: list[tuple[int, str]] = []
        body = struct.pack("=B11x", socket.AF_INET if ip == 4 else socket.AF_INET6)  # noqa: PLR2004
        for answer in netlink.dump(netlink.NETLINK_ROUTE, RTM_GETROUTE, body):
            known.extend((index, gateway) for index, gateway in _hops(answer, 12) if gateway)
        return list(dict.fromkeys(known))

    def local(self) -> frozenset[str]:
        """This host's addresses."""
        return frozenset(address for _, address in self._addresses())

    def with_xdp(self) -> set[str]:
        """Interfaces with an XDP program in front, which may take packets before any capture sees them."""
        found = set()
        for answer in netlink.dump(netlink.NETLINK_ROUTE, RTM_GETLINK, struct.pack("=B15x", socket.AF_UNSPEC)):
            values = dict(netlink.attributes(answer, 16))
            if any(dict(netlink.attributes(values.get(_XDP, b""), 0)).get(_XDP_ATTACHED, b"")):
                found.add(values.get(3, b"?").rstrip(b"\0").decode("ascii", "replace"))
        return found

    def name(self, index: int) -> str:
        """The interface's name."""
        return self._link(index).name

    async def link(self, oif: int, hop: str, source: str) -> bytes | None:
        """The link address of the next hop: from the kernel's table, else asked for by ARP or ND; None without answer."""
        link = self._link(oif)
        if link.flags & (IFF_NOARP | IFF_LOOPBACK) or not any(link.address):
            return b""
        known = _neighbour(oif, hop)
        if known:
            return known
        at, found = self._asked.get((oif, hop), (0.0, None))
        if not at or time.monotonic() - at > KEEP_S:
            if family(source) != family(hop):  # an IPv4 route by an IPv6 next hop (RFC 5549)
                source = self._own(oif, hop)
            try:
                found = await self._ask(link, hop, source) if source else None
            except PermissionError:  # then nothing is sent raw either, and the kernel asks when it sends
                return b""
            self._asked[oif, hop] = (time.monotonic(), found)
        return found

    def _link(self, index: int) -> Link:
        if index not in self._links:
            for answer in netlink.dump(netlink.NETLINK_ROUTE, RTM_GETLINK, struct.pack("=B15x", socket.AF_UNSPEC)):
                number, flags = netlink.values("=4xiI", answer)
                found = dict(netlink.attributes(answer, 16))
                name = found.get(3, b"").rstrip(b"\0").decode("ascii", "replace")
                self._links[number] = Link(name, flags, found.get(1, b""))
        return self._links[index]

    def _addresses(self) -> list[tuple[int, str]]:
        found = []
        for answer in netlink.dump(netlink.NETLINK_ROUTE, RTM_GETADDR, struct.pack("=B7x", socket.AF_UNSPEC)):
            (index,) = netlink.values("=4xI", answer)
            values = dict(netlink.attributes(answer, 8))
            found.append((index, netlink.address(values.get(2) or values.get(1, b""))))  # IFA_LOCAL, else IFA_ADDRESS
        return found

    def _own(self, oif: int, hop: str) -> str:
        """An address of the interface, of the next hop's family; a global one where there is a choice."""
        own = [text for index, text in self._addresses() if index == oif and text and family(text) == family(hop)]
        return min(own, key=lambda text: text.startswith("fe80:"), default="")

    async def _ask(self, link: Link, hop: str, source: str) -> bytes | None:
        from probes.packets import build  # noqa: PLC0415 - scapy

        loop = asyncio.get_running_loop()
        ethertype = ETH_P_ARP if family(hop) == 4 else IPV6  # noqa: PLR2004
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ethertype)) as sock:
            sock.setblocking(False)
            for _ in range(ASK_TIMES):
                question, target = build.who_has(link.address, source, hop)
                sock.sendto(question, (link.name, ethertype, 0, 0, target))
                try:
                    async with asyncio.timeout(ASK_S):
                        while True:
                            data, (interface, _, pkttype, *_) = await loop.sock_recvfrom(sock, 512)
                            if pkttype != socket.PACKET_OUTGOING and interface == link.name:
                                answer = build.is_at(data, hop)
                                if answer:
                                    return answer
                except TimeoutError:
                    continue
        return None


def _route_get(destination: str, source: str) -> tuple[int, int, str, str]:
    """(type of the route, interface index, gateway or "", preferred source or ""); OSError with the kernel's errno."""
    answer = _ask_kernel(_question(destination, source))
    values = dict(netlink.attributes(answer, 12))
    oif, hop = next(_hops(answer, 12), (0, ""))
    return netlink.values("=7xB", answer)[0], oif, hop, netlink.address(values.get(_PREFSRC, b""))


def _next_hops(destination: str, source: str) -> list[tuple[int, str]]:
    """(interface index, gateway or "") of all next hops of the route: of several the kernel names one, by the flow's hash."""
    try:
        return list(_hops(_ask_kernel(_question(destination, source, RTM_F_FIB_MATCH)), 12))
    except OSError:  # a kernel before 4.13
        return []


def _question(destination: str, source: str, flags: int = 0) -> bytes:
    ip, bits = (socket.AF_INET6, 128) if ":" in destination else (socket.AF_INET, 32)
    body = struct.pack("=BBB5xI", ip, bits, bits if source else 0, flags)
    for kind, address in ((_DST, destination), (_SRC, source)):
        if address:
            raw = socket.inet_pton(ip, address)
            body += struct.pack("=HH", 4 + len(raw), kind) + raw
    return body


def _ask_kernel(body: bytes) -> bytes:
    """The body of the answer to one RTM_GETROUTE that is not a dump (rtnetlink(7))."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, netlink.NETLINK_ROUTE) as sock:
        sock.settimeout(2.0)
        sock.send(struct.pack("=IHHII", 16 + len(body), RTM_GETROUTE, _REQUEST, 1, 0) + body)
        data = sock.recv(65536)
    found, _ = netlink.answers(data)
    if not found:
        raise OSError("a netlink answer without a route")
    return found[0]


def _hops(answer: bytes, at: int) -> Iterator[tuple[int, str]]:
    """(interface index, gateway or "") of each next hop of a route message; of several, those that are up."""
    values = dict(netlink.attributes(answer, at))
    if _OIF in values:
        yield netlink.values("=i", values[_OIF])[0], _gateway(values)
    several, place = values.get(_MULTIPATH, b""), 0
    while place + 8 <= len(several):
        length, flags, index = struct.unpack_from("=HBxi", several, place)
        if not flags & RTNH_DOWN:
            yield index, _gateway(dict(netlink.attributes(several[place : place + length], 8)))
        place += max(8, (length + 3) & ~3)


def _gateway(values: dict[int, bytes]) -> str:
    return netlink.address(values.get(_GATEWAY) or values.get(_VIA, b"")[2:])


def _neighbour(oif: int, hop: str) -> bytes | None:
    ip = socket.AF_INET if family(hop) == 4 else socket.AF_INET6  # noqa: PLR2004
    for answer in netlink.dump(netlink.NETLINK_ROUTE, RTM_GETNEIGH, struct.pack("=B11x", ip)):
        index, state = netlink.values("=4xiH", answer)
        if index == oif and state & NUD_USABLE:
            values = dict(netlink.attributes(answer, 12))
            if netlink.address(values.get(1, b"")) == hop:
                return values.get(2) or None
    return None
