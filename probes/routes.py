"""Where a packet goes: interface, source address, next hop and its link address, as the kernel says. Nothing is guessed."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from probes.packet import IPV4, IPV6
from reachability.topology import family
from reachability.vocabulary import Reason

ETH_P_ARP = 0x0806
IFF_NOARP, IFF_LOOPBACK = 0x80, 0x08
RTN_LOCAL = 2
NUD_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
ASK_TIMES, ASK_S = 3, 0.3


@dataclass(frozen=True, slots=True)
class Route:
    """One way out. `link` is the next hop's link address, b"" on devices that have none."""

    interface: str
    next_hop: str  # "" when the destination itself is on the link
    source: str
    link: bytes

    @property
    def via(self) -> str:
        """As observations name it: "eth0 10.10.0.1" or "eth0 direct"."""
        return f"{self.interface} {self.next_hop or 'direct'}"


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Why there is no way out."""

    reason: Reason


class Routes:
    """Looks routes up by netlink and keeps them for the life of the (short-lived) packet child."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "netlink")  # pyroute2 runs an event loop of its own; a call takes 1 ms
        self._netlink = self._thread.submit(_netlink).result()
        self._links = {link["index"]: link for link in self._ask_kernel("get_links")}
        self._neighbours: dict[tuple[int, str], bytes | None] = {}

    def close(self) -> None:
        """Free the netlink socket."""
        self._ask_kernel("close")
        self._thread.shutdown()

    async def lookup(self, destination: str, source: str = "") -> tuple[Route, ...] | NoRoute:
        """The ways to a destination: the kernel's, or where it has none every gateway that it knows."""
        found = self._kernel(destination, source)
        ways = [found] if found else [(oif, gateway, source) for oif, gateway in self.gateways(family(destination))]
        routes = []
        for oif, gateway, used in ways:
            own = source or used
            if not own:
                continue
            link = await self.link(oif, gateway or destination, own)
            if link is not None:
                routes.append(Route(self.name(oif), gateway, own, link))
        if routes:
            return tuple(routes)
        return NoRoute(Reason.NO_NEIGHBOUR if ways else Reason.NO_ROUTE)

    def gateways(self, ip: int) -> list[tuple[int, str]]:
        """(interface index, address) of every gateway in any routing table, for IPv4 or IPv6."""
        known = []
        for route in self._ask_kernel("get_routes", family=socket.AF_INET if ip == 4 else socket.AF_INET6):  # noqa: PLR2004
            attributes = dict(route["attrs"])
            hops = [attributes, *(dict(hop["attrs"]) | {"RTA_OIF": hop["oif"]} for hop in attributes.get("RTA_MULTIPATH", ()))]
            known.extend(
                (int(hop["RTA_OIF"]), str(hop["RTA_GATEWAY"])) for hop in hops if hop.get("RTA_GATEWAY") and hop.get("RTA_OIF")
            )
        return list(dict.fromkeys(known))

    def name(self, index: int) -> str:
        """The interface's name."""
        return str(self._links[index].get_attr("IFLA_IFNAME"))

    def local(self) -> frozenset[str]:
        """This host's addresses."""
        entries = self._ask_kernel("get_addr")
        return frozenset(str(entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS")) for entry in entries)

    def with_xdp(self) -> set[str]:
        """Interfaces with an XDP program in front, which may take packets before any capture sees them."""
        found = set()
        for link in self._ask_kernel("get_links"):
            xdp = link.get_attr("IFLA_XDP")
            if xdp is not None and dict(xdp["attrs"]).get("IFLA_XDP_ATTACHED"):
                found.add(str(link.get_attr("IFLA_IFNAME")))
        return found

    def _ask_kernel(self, call: str, *arguments: Any, **more: Any) -> Any:
        def ask() -> Any:
            answer = getattr(self._netlink, call)(*arguments, **more)
            return answer if answer is None else list(answer)

        return self._thread.submit(ask).result()

    def _kernel(self, destination: str, source: str) -> tuple[int, str, str] | None:
        from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415 - as above

        query = {"dst": destination} | ({"src": source} if source else {})
        try:
            answer = self._ask_kernel("route", "get", **query)[0]
        except NetlinkError as error:
            if error.code in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EACCES, errno.ENODEV):
                return None
            raise
        attributes = dict(answer["attrs"])
        return int(attributes["RTA_OIF"]), str(attributes.get("RTA_GATEWAY") or ""), str(attributes.get("RTA_PREFSRC") or "")

    async def link(self, oif: int, hop: str, source: str) -> bytes | None:
        """The link address of the next hop: from the kernel's table, else asked for by ARP or ND; None without answer."""
        link = self._links[oif]
        if link["flags"] & (IFF_NOARP | IFF_LOOPBACK):
            return b""
        if (oif, hop) not in self._neighbours:
            known = self._known(oif, hop)
            self._neighbours[oif, hop] = known or await asyncio.to_thread(self._ask, oif, hop, source)
        return self._neighbours[oif, hop]

    def _known(self, oif: int, hop: str) -> bytes | None:
        ip = socket.AF_INET if family(hop) == 4 else socket.AF_INET6  # noqa: PLR2004
        for entry in self._ask_kernel("get_neighbours", family=ip):
            if entry["ifindex"] == oif and entry.get_attr("NDA_DST") == hop and entry["state"] & NUD_USABLE:
                address = entry.get_attr("NDA_LLADDR")
                return bytes.fromhex(str(address).replace(":", "")) if address else None
        return None

    def _ask(self, oif: int, hop: str, source: str) -> bytes | None:
        from probes import frames  # noqa: PLC0415 - scapy

        own = bytes.fromhex(str(self._links[oif].get_attr("IFLA_ADDRESS")).replace(":", ""))
        ethertype = ETH_P_ARP if family(hop) == 4 else IPV6  # noqa: PLR2004
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ethertype)) as asker:
            asker.settimeout(ASK_S)
            for _ in range(ASK_TIMES):
                question, target = frames.who_has(own, source, hop)
                asker.sendto(question, (self.name(oif), ethertype, 0, 0, target))
                until = time.monotonic() + ASK_S
                while time.monotonic() < until:
                    try:
                        data, (_, _, pkttype, *_) = asker.recvfrom(256)
                    except (TimeoutError, OSError):
                        break
                    if pkttype != socket.PACKET_OUTGOING and (answer := frames.is_at(data, hop)):
                        return answer
        return None


def ethertype_of(address: str) -> int:
    """The ethertype of the address's family."""
    return IPV4 if ip_address(address).version == 4 else IPV6  # noqa: PLR2004


def _netlink() -> Any:
    from pyroute2 import IPRoute  # noqa: PLC0415 - 10 MB that only the packet child pays for

    return IPRoute()
