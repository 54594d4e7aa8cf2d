"""Makes another host send a packet to an address of this one, so that a capture can show that it works."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

from probes.context import Station
from probes.gate import NotAllowed
from probes.packets.parse import Packet
from probes.packets.route import Route
from reachability.topology import family, is_address
from reachability.vocabulary import Protocol

CONNECT_S = 0.3


class Provoker:
    """Asks the gateways for an echo, and the broker for a SYN-ACK, from the address itself."""

    def __init__(self, station: Station, broker: tuple[str, int]) -> None:
        """`broker`: host and port; the host is "" where there is none."""
        self._station = station
        self._broker = broker
        self._local = 0

    async def provoke(self, address: str) -> None:
        """Send what another host has to answer to this address. That none does is the caller's to see."""
        routes = self._station.routes
        if not self._local:
            self._local = self._station.flows.reserve(self, Protocol.ICMP, 0)
        for interface, gateway in routes.gateways(family(address)):
            link = await routes.link(interface, gateway, address)
            if link is None:
                continue
            route = Route(routes.name(interface), "", address, link)
            with contextlib.suppress(OSError, NotAllowed):  # an interface that is down proves nothing, and that shows
                await self._station.send(route, gateway, Protocol.ICMP, self._local, 0, os.urandom(8), to_gateway=True)
        host, port = self._broker
        if is_address(host) and family(host) == family(address):
            await self._call(address, host, port)

    def left(self, copy: int, packet: Packet) -> None:
        """Nothing to do: the witness counts what comes in."""

    def answered(self, copy: int, packet: Packet) -> None:
        """Nothing to do."""

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """Nothing to do."""

    async def _call(self, address: str, host: str, port: int) -> None:
        ip = socket.AF_INET6 if family(address) == 6 else socket.AF_INET  # noqa: PLR2004
        with socket.socket(ip, socket.SOCK_STREAM) as connection:
            connection.setblocking(False)
            with contextlib.suppress(OSError, TimeoutError):
                connection.bind((address, 0))
                async with asyncio.timeout(CONNECT_S):
                    await asyncio.get_running_loop().sock_connect(connection, (host, port))
