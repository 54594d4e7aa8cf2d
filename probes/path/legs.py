"""Counts the legs of a path: packets of many flows whose TTL ends on the way, and how many routers say so at one distance.

Proves: that flows part, at least so often. Suggests: how many ways lead there. Blind to: routers that send no ICMP, devices that
share one address, and legs that few flows take. Sent where cells are silent, for silence on one leg says nothing of another.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import product

from probes import classify
from probes.context import Station
from probes.packets.parse import Packet
from probes.packets.raw_socket import Bucket
from probes.packets.route import Route
from probes.packets.token import tcp_fields, token
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.topology import Network, family
from reachability.vocabulary import Protocol, Reason

FLOWS, MORE = 6, 42  # of each TTL: what Linux answers one peer at once, and where there are several legs, so many more
MOST_TTL, MOST_PATHS = 8, 4
TTLS = range(1, MOST_TTL + 1)
ANSWER_S = 0.25
PREFIX = {4: 24, 6: 64}  # hosts of such a network share their paths
PORTS = (49152, 60999)  # no source port of a cell's: the other side's copies must not look like answers to these


@dataclass(slots=True)
class Path:
    """A way out of this host to a network: packets to one host stand for all of them."""

    route: Route
    address: str
    protocol: Protocol
    port: int  # of no cell: what arrives there tells nobody anything
    hosts: set[str] = field(default_factory=set)
    seen: dict[int, set[str]] = field(default_factory=dict)  # TTL -> who said that it ended there

    @property
    def legs(self) -> int:
        """The most at one distance."""
        return max(map(len, self.seen.values()), default=1)

    @property
    def parting(self) -> list[int]:
        """The TTLs at which there are several."""
        return [ttl for ttl, routers in self.seen.items() if len(routers) > 1]


class Legs:
    """The packets of one job. A `Handler` of the source ports that they leave from."""

    def __init__(self, station: Station, key: bytes, bucket: Bucket) -> None:
        """`bucket`: what a round's packets may go at."""
        self._station, self._key, self._bucket = station, key, bucket
        self._sent: list[tuple[Path, int]] = []  # with the TTL, by the number that the source port was reserved for
        self.found: dict[str, int] = {}  # address -> legs
        self.packets = 0

    async def count(self, silent: Iterable[tuple[Target, Iterable[Route]]], within_s: float) -> None:
        """Count those to the hosts of silent cells, as far as the rate allows for in that time."""
        paths = _paths(silent)
        try:
            async with asyncio.timeout(within_s):
                for wave in FLOWS, MORE:
                    ways = [(path, ttl) for path in paths for ttl in (TTLS if wave == FLOWS else path.parting)]
                    for _, (path, ttl) in product(range(wave if ways else 0), ways):
                        await self._send(path, ttl)
                    await asyncio.sleep(ANSWER_S if ways else 0.0)
        except (TimeoutError, OSError):
            pass
        finally:
            self._station.flows.release(self)
        for path in paths:
            for host in path.hosts:
                self.found[host] = max(path.legs, self.found.get(host, 1))

    def left(self, copy: int, packet: Packet) -> None:
        """Nothing to do."""

    def answered(self, copy: int, packet: Packet) -> None:
        """Nothing to do: an answer at all shows a way, not how many."""

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """An ICMP error: believed when it quotes the token, where the quote has one."""
        path, ttl = self._sent[copy]
        reason = classify.icmp(packet.protocol, packet.icmp_type, packet.icmp_code).reason
        proven = path.protocol is not Protocol.TCP or quote.seq == tcp_fields(self._token(path, ttl))[0]
        if reason is Reason.TTL_EXCEEDED and quote.destination == path.address and proven:
            path.seen.setdefault(ttl, set()).add(packet.source)

    async def _send(self, path: Path, ttl: int) -> None:
        await self._bucket.take()
        local = self._station.flows.reserve(self, path.protocol, len(self._sent))
        self._sent.append((path, ttl))
        tok = self._token(path, ttl)
        await self._station.send(path.route, path.address, path.protocol, local, path.port, tok, ttl=ttl)
        self.packets += 1

    def _token(self, path: Path, ttl: int) -> bytes:
        return token(self._key, path.address, path.protocol, path.port, ttl)


def _paths(silent: Iterable[tuple[Target, Iterable[Route]]]) -> list[Path]:
    """A path for each way to each network, the TCP ones first; an echo has no ports that a router could tell flows by."""
    taken: dict[str, PortSet] = {}
    paths: dict[tuple[Route, Network], Path] = {}
    for target, routes in sorted(silent, key=lambda cell: cell[0].protocol.value):
        taken[target.address] = taken.get(target.address, PortSet()) | target.ports
        for route in routes if target.protocol is not Protocol.ICMP else ():
            network = ip_network(f"{target.address}/{PREFIX[family(target.address)]}", strict=False)
            if not route.next_hop or (len(paths) >= MOST_PATHS and (route, network) not in paths):
                continue
            path = paths.setdefault((route, network), Path(route, target.address, target.protocol, 0))
            path.hosts.add(target.address)
    for path in paths.values():
        while not path.port or path.port in taken[path.address]:
            path.port = random.randint(*PORTS)  # noqa: S311 - not secret
    return list(paths.values())
