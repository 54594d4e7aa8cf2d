"""Whether the capture could have seen a packet: what other hosts were made to send, and what the kernel's counters say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from probes.host import deliveries
from probes.host.counters import HostFacts
from probes.host.deliveries import Deliveries
from probes.packets.parse import Packet
from probes.witness.readings import Stop, repeat

PROVE_EVERY_S = 0.15
MOST_PEERS = 4096


@dataclass(frozen=True, slots=True)
class WitnessDeps:
    """What the witness needs of the host, as functions, so that tests can do without one."""

    facts: Callable[[], HostFacts]
    local: Callable[[], frozenset[str]]  # this host's addresses
    xdp: Callable[[], set[str]]  # interfaces with an XDP program
    gateways: Callable[[], frozenset[str]]
    provoke: Callable[[str], Awaitable[None]]  # make some other host send a packet to this address
    drops: Callable[[], int]  # packets that the capture lost since its start
    now: Callable[[], float] = time.monotonic  # in whatever thread
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    deliveries: Callable[[], Mapping[int, Deliveries]] = deliveries.read  # likewise
    repeat: Callable[[Callable[[], object]], Stop] = repeat


class OffHost:
    """Packets that other hosts sent to this one, counted for each address that is witnessed."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.interfaces: dict[str, set[str]] = {}  # by which they came in
        self.newest: dict[str, Packet] = {}
        self._encrypted: dict[tuple[str, str], float] = {}  # (address, peer) -> when IPsec came last

    def watch(self, addresses: Iterable[str]) -> dict[str, int]:
        """Count for these addresses from now on; how many there were so far."""
        for address in addresses:
            self.counts.setdefault(address, 0)
            self.interfaces.setdefault(address, set())
        return {address: self.counts[address] for address in addresses}

    def count(self, packet: Packet) -> None:
        """Take a packet from another host."""
        address = packet.destination
        if address in self.counts:
            self.counts[address] += 1
            self.interfaces[address].add(packet.interface)
            self.newest[address] = packet

    def count_encrypted(self, packet: Packet) -> None:
        """Take a packet of which nobody can say what is in it: the kernel hands its content past every capture."""
        key = packet.destination, packet.source
        if packet.destination in self.counts and (key in self._encrypted or len(self._encrypted) < MOST_PEERS):
            self._encrypted[key] = packet.at

    def encrypted(self, address: str, since: float) -> set[str]:
        """From whom IPsec came to an address since then."""
        return {peer for (to, peer), at in self._encrypted.items() if to == address and at >= since}

    async def prove(self, deps: WitnessDeps, addresses: Iterable[str], within_s: float) -> set[str]:
        """Provoke packets to each address until each was captured; the ones to which none came in time.

        One counts that came since: the capture hands out packets in their order, so that all before it was read as well. What
        waits in the ring of a process that was suspended shows neither that it is whole nor that it was read.
        """
        dark = set(self.watch(set(addresses)))
        began = deps.now()
        until = began + within_s
        while dark and deps.now() < until:
            async with asyncio.TaskGroup() as group:
                for address in sorted(dark):
                    group.create_task(_provoke(deps, address), name=f"provoke a packet to {address}")
            await deps.sleep(PROVE_EVERY_S)
            dark = {address for address in dark if not self._came_since(address, began)}
        return dark

    def _came_since(self, address: str, began: float) -> bool:
        packet = self.newest.get(address)
        return packet is not None and packet.at >= began


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is known of one address over a round."""

    address: str
    own: bool
    at_start: bool
    at_end: bool
    lost_by_capture: int
    link_down: str  # in words, "" for never
    xdp: frozenset[str]
    encrypted: frozenset[str]  # sources of the round of which nothing came but IPsec

    def why_not(self) -> str:
        """Why a packet could have come in unseen, in words; "" when it could not."""
        if not self.own:
            return f"{self.address} is not an address of this host"
        if not self.at_start:
            return "no packet from another host was captured when it was armed"
        if not self.at_end:
            return "no packet from another host was captured at the end"
        if self.lost_by_capture:
            return f"the capture lost {self.lost_by_capture} packets"
        if self.link_down:
            return f"a link of this host went down: {self.link_down}"
        if self.xdp:
            return f"an XDP program is in front of {', '.join(sorted(self.xdp))}"
        if self.encrypted:
            return f"only IPsec came from {', '.join(sorted(self.encrypted))}, and no capture sees what is in it"
        return ""


async def _provoke(deps: WitnessDeps, address: str) -> None:
    await deps.provoke(address)
