"""The source's side of follow-up rounds: the keyed challenge, and UDP groups for the host's NoPorts counter."""

from __future__ import annotations

import asyncio
import hmac
import random
import time

from probes.packet import Packet
from probes.routes import NoRoute, Route
from probes.station import Station
from probes.token import token
from reachability.observation import SourceReport, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol
from wire.messages import Go

SLOTS, ON = 20, 10  # so many patterns that a few busy flows beside ours are told from it
LEAST_SLOT_S = 0.15
A_SLOT = 2
GROUP_COPIES, GROUP_PAUSE_S = 3, 0.25
TAIL_S = 2.0


def slots(key: bytes) -> tuple[int, ...]:
    """Which of the slots are on: half of them, known to who holds the key."""
    ranked = sorted(range(SLOTS), key=lambda index: hmac.digest(key, b"slots%d" % index, "sha256"))
    return tuple(int(index in ranked[:ON]) for index in range(SLOTS))


class FollowUps:
    """Sends a challenge or the groups of a NoPorts round; answers do not matter, the witness decides."""

    def __init__(self, station: Station, go: Go) -> None:
        self._station = station
        self._go = go
        self._packets = 0
        self._ways: dict[int, tuple[Route, ...]] = {}
        self._ports: dict[Protocol, int] = {}

    async def challenge(self) -> tuple[SourceReport, float]:
        """Two copies a port in each on-slot, nothing in the off-slots, from one source port throughout."""
        started = time.monotonic()
        await self._prepare()
        pattern = slots(self._go.key)
        cells = [(t, port) for t in self._go.targets for port in _ports(t)]
        slot_s = max(LEAST_SLOT_S, 1.5 * A_SLOT * len(cells) / self._station.bucket.rate)
        try:
            begin = time.monotonic() + 0.05
            for index, on in enumerate(pattern):
                await asyncio.sleep(max(0.0, begin + index * slot_s - time.monotonic()))
                for copy in range(A_SLOT if on else 0):
                    random.shuffle(cells)
                    for target, port in cells:
                        await self._send(target, port, copy, fresh=not any(pattern[:index]) and copy == 0)
            await asyncio.sleep(max(0.0, begin + SLOTS * slot_s - time.monotonic()))
        finally:
            self._station.flows.release(self)
        return self._report(started, pattern, slot_s * 1000), TAIL_S

    async def noports(self) -> tuple[SourceReport, float]:
        """Group after group, with a pause in which the host's counter comes to rest."""
        started = time.monotonic()
        await self._prepare()
        by_id = {target.id: target for target in self._go.targets}
        try:
            for target_id, ports in self._go.groups:
                for copy in range(GROUP_COPIES):
                    for port in PortSet.parse(ports):
                        if target_id in by_id:
                            await self._send(by_id[target_id], port, copy, fresh=copy == 0)
                await asyncio.sleep(GROUP_PAUSE_S)
        finally:
            self._station.flows.release(self)
        return self._report(started, (), 0.0), TAIL_S

    def left(self, copy: int, packet: Packet) -> None:
        """Nothing to do: what counts is what arrives."""

    def answered(self, copy: int, packet: Packet) -> None:
        """Nothing to do."""

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """Nothing to do."""

    async def _prepare(self) -> None:
        for target in self._go.targets:
            found = await self._station.way(target.address, target.source)
            self._ways[target.id] = () if isinstance(found, NoRoute) else found
            if target.protocol not in self._ports:
                self._ports[target.protocol] = self._station.flows.reserve(self, target.protocol, 0)

    async def _send(self, target: Target, port: int, copy: int, *, fresh: bool) -> None:
        tok = token(self._go.key, target.address, target.protocol, port, copy)
        for route in self._ways[target.id]:
            local = self._ports[target.protocol]
            await self._station.send(route, target.address, target.protocol, local, port, tok, fresh=fresh)
            self._packets += 1

    def _report(self, started: float, pattern: tuple[int, ...], slot_ms: float) -> SourceReport:
        return SourceReport(
            round=self._go.round,
            agent=self._station.agent,
            slots=pattern,
            slot_ms=slot_ms,
            packets=self._packets,
            duration_s=round(time.monotonic() - started, 3),
        )


def _ports(target: Target) -> tuple[int, ...]:
    return (0,) if target.protocol is Protocol.ICMP else tuple(PortSet.parse(target.ports))
