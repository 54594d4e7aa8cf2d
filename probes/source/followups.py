"""The source's side of follow-up rounds: the keyed challenge, and groups for the counters of the host."""

from __future__ import annotations

import asyncio
import hmac
import math
import random
from itertools import islice

from probes.clock import monotonic
from probes.context import Station
from probes.host.routes import NoRoute
from probes.kernel.attempts import Attempts
from probes.kernel.datagrams import Datagrams
from probes.kernel.way import Way
from probes.packets.parse import Packet
from probes.packets.port_arrays import sources_for
from probes.packets.route import Route
from probes.packets.token import KERNEL_COPY, token
from probes.protocols import udp_payloads
from probes.source.control_sender import ControlSender, until
from probes.source.controls import Controls
from probes.source.departures import Departures, Sender
from probes.source.job import Job
from reachability.challenge import A_SLOT
from reachability.observation import ControlResult, SourceReport, Target
from reachability.vocabulary import Protocol
from wire.messages import Go

SLOTS, ON = 20, 10  # enough patterns to tell a few busy flows from ours
LEAST_SLOT_S = 0.15
GROUP_SLOTS, GROUP_ON, GROUP_PAUSE_S = 8, 4, 0.25
LEAST_A_SLOT, MOST_COPIES = 4, 16  # copies of a group in an on-slot: a single datagram of somebody else's is soon there
TAIL_S = 2.0
SEEN_S = 0.5  # in which the capture hands out what it has
KERNEL_SHARE = (
    0.9  # of a slot: by then what the kernel has under way is given up, so that no answer to it opens an off-slot
)
Cell = tuple[Target, int]  # a port


def slots(key: bytes, total: int = SLOTS, on: int = ON, of: bytes = b"") -> tuple[int, ...]:
    """Which of the slots are on, known to whoever holds the key; `of` tells several patterns of a key apart."""
    ranked = sorted(range(total), key=lambda index: hmac.digest(key, b"slots%s%d" % (of, index), "sha256"))
    return tuple(int(index in ranked[:on]) for index in range(total))


class FollowUps:
    """Sends a challenge or the groups of a NoPorts round; answers do not matter, the witness decides."""

    def __init__(self, station: Station, go: Go) -> None:
        self._station = station
        self._go = go
        self._packets = 0
        self._ways: dict[int, tuple[Route, ...]] = {}
        self._ports: dict[tuple[Protocol, tuple[int, int]], int] = {}
        self._datagrams = Datagrams(
            station.gate
        )  # where packets cannot be sent raw: a token fits into a datagram, not into a SYN
        self._sockets: dict[tuple[str, tuple[int, int]], Way] = {}  # by source address, and where its port is from
        self._attempts: dict[tuple[str, Protocol], Attempts] = {}  # by source address
        self._departures: Departures | None = None

    async def challenge(self) -> tuple[SourceReport, float]:
        """Two copies per port in each on-slot, nothing in the off-slots, from one source port throughout; then the controls.

        Ports that the round tries through the kernel too are tried so here, from another source port: what takes the token off
        a packet, or lets it through, may treat the two differently. Without a good control after it, or where this host was too
        busy to keep time, it does not count as sent; where its own capture did not see the packets leave, neither.
        """
        started = monotonic()
        if not self._station.raw and any(target.protocol is not Protocol.UDP for target in self._go.targets):
            return self._report(
                started, (), 0.0, "a challenge takes raw sockets: a SYN of the kernel's carries no token"
            ), 0.0
        await self._prepare()
        pattern = slots(self._go.key)
        cells = [(t, port) for t in self._go.targets for port in t.ports]
        try:
            by_kernel = await self._kernel_cells(cells)
            for target, _ in cells:
                await self._station.bound.take(target.protocol, max(1, len(self._ways[target.id])))
            packets = sum(max(1, len(self._ways[target.id])) for target, _ in cells) + len(by_kernel)
            rate = min(self._station.bucket.rate, self._go.rate_pps or math.inf)
            slot_s = max(LEAST_SLOT_S, 1.5 * A_SLOT * packets / rate)
            begin = monotonic() + 0.05
            self._departures = Departures(pattern, begin, slot_s, self._expected(cells, by_kernel))
            late = await self._slots(pattern, begin, slot_s, cells, by_kernel)
            await asyncio.sleep(max(0.0, begin + SLOTS * slot_s - monotonic()))
            controls = await self._controls()
            await until(self._departures.are_all, SEEN_S)
        finally:
            self._end()
        if late > 0:
            return self._report(started, (), 0.0, f"a challenge fell {late:.2f} s behind its pattern"), TAIL_S
        return self._report(started, pattern, slot_s * 1000, controls=controls), TAIL_S

    async def _slots(
        self, pattern: tuple[int, ...], begin: float, slot_s: float, cells: list[Cell], by_kernel: list[Cell]
    ) -> float:
        """Send by the pattern; by how much a slot ended too late, in seconds, at most 0.0 when none did."""
        late = -math.inf
        for index, on in enumerate(pattern):
            await asyncio.sleep(max(0.0, begin + index * slot_s - monotonic()))
            for copy in range(A_SLOT if on else 0):
                random.shuffle(cells)
                self._give_up()
                for target, port in by_kernel:
                    await self._attempt(target, port)
                for target, port in cells:
                    await self._send(target, port, copy, fresh=False)
            late = max(late, monotonic() - begin - (index + 1) * slot_s)
            if on:
                await asyncio.sleep(max(0.0, begin + (index + KERNEL_SHARE) * slot_s - monotonic()))
                self._give_up()
        return late

    async def _kernel_cells(self, cells: list[Cell]) -> list[Cell]:
        """Those that go through the kernel as well: what the round tries so, where this host has a way there."""
        found = []
        for target, port in cells if self._station.raw else ():
            ways = self._ways[target.id]
            if port not in target.first or target.protocol is Protocol.ICMP or not ways:
                continue
            if target.protocol is Protocol.UDP and port not in udp_payloads.REQUESTS:
                continue  # it would carry a token, as the raw one does
            sender = ways[0].source, target.protocol
            if sender not in self._attempts:
                made = self._attempts[sender] = Attempts(*sender, self._station.gate)
                self._station.flows.adopt(self, target.protocol, made.way.port, KERNEL_COPY)
            await self._station.bound.take(target.protocol)
            found.append((target, port))
        return found

    async def _attempt(self, target: Target, port: int) -> None:
        await self._station.bucket.take()
        attempts = self._attempts[self._ways[target.id][0].source, target.protocol]
        attempts.begin((target.address, port), udp_payloads.REQUESTS.get(port, b""))
        self._packets += 1

    def _give_up(self) -> None:
        for attempts in self._attempts.values():
            attempts.give_up()

    def _expected(self, cells: list[Cell], by_kernel: list[Cell]) -> dict[Sender, tuple[Target, int]]:
        """What has to leave, and how many packets for one."""
        raw = {Sender(target.id, port, kernel=False): (target, len(self._ways[target.id])) for target, port in cells}
        return raw | {Sender(target.id, port, kernel=True): (target, 1) for target, port in by_kernel}

    async def _controls(self) -> tuple[ControlResult, ...]:
        """Whether packets still get out, and to the pair."""
        if not self._station.raw:
            return ()
        controls, last = Controls(), monotonic()
        sender = ControlSender(self._station, Job.source(self._go), controls)
        try:
            await sender.lay_out()
            await sender.finish(last)
            return controls.results(last)
        finally:
            self._packets += sender.packets
            self._station.flows.release(sender)

    async def noports(self) -> tuple[SourceReport, float]:
        """Group after group in keyed on-slots, each slot with a pause in which the host's counters come to rest."""
        started = monotonic()
        await self._prepare()
        by_id = {target.id: target for target in self._go.targets}
        try:
            for number, (target_id, ports) in enumerate(self._go.groups):
                target = by_id.get(target_id)
                if target is None or not (self._station.raw or target.protocol is Protocol.UDP):
                    continue
                copies = iter(range(MOST_COPIES))
                for on in slots(self._go.key, GROUP_SLOTS, GROUP_ON, b" of %d." % number):
                    for copy in islice(copies, -(-LEAST_A_SLOT // len(ports)) if on else 0):
                        for port in ports:
                            await self._send(target, port, copy, fresh=copy == 0)
                    await asyncio.sleep(GROUP_PAUSE_S)
        finally:
            self._end()
        return self._report(started, (), 0.0), TAIL_S

    def left(self, copy: int, packet: Packet) -> None:
        """Its own capture saw a packet go out."""
        if self._departures is not None:
            self._departures.saw(packet, kernel=copy == KERNEL_COPY)

    def answered(self, copy: int, packet: Packet) -> None:
        """Nothing to do."""

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """Nothing to do."""

    def _end(self) -> None:
        self._station.flows.release(self)
        self._datagrams.close()
        for attempts in self._attempts.values():
            attempts.close()

    async def _prepare(self) -> None:
        for target in self._go.targets:
            found = await self._station.way(target.address, target.source)
            self._ways[target.id] = () if isinstance(found, NoRoute) else found

    async def _send(self, target: Target, port: int, copy: int, *, fresh: bool) -> None:
        tok = token(self._go.key, target.address, target.protocol, port, copy)
        if not self._station.raw:
            await self._send_by_kernel(target, (target.address, port), tok, fresh=fresh)
            return
        for route in self._ways[target.id]:
            local = self._source_port(target.protocol, port)
            await self._station.send(route, target.address, target.protocol, local, port, tok, fresh=fresh)
            self._packets += 1

    def _source_port(self, protocol: Protocol, port: int) -> int:
        within = sources_for(port)
        if (protocol, within) not in self._ports:
            self._ports[protocol, within] = self._station.flows.reserve(self, protocol, 0, within)
        return self._ports[protocol, within]

    async def _send_by_kernel(self, target: Target, to: tuple[str, int], tok: bytes, *, fresh: bool) -> None:
        for route in self._ways[target.id][:1]:
            if fresh:
                await self._station.bound.take(Protocol.UDP)
            await self._station.bucket.take()
            sender = route.source, sources_for(to[1])
            if sender not in self._sockets:
                self._sockets[sender] = self._datagrams.open(*sender)
            self._datagrams.send(self._sockets[sender], tok, to)
            self._packets += 1

    def _report(
        self,
        started: float,
        pattern: tuple[int, ...],
        slot_ms: float,
        *problems: str,
        controls: tuple[ControlResult, ...] = (),
    ) -> SourceReport:
        return SourceReport(
            round=self._go.round,
            agent=self._station.agent,
            observations=self._departures.lacking() if pattern and self._departures else (),
            controls=controls,
            slots=pattern,
            slot_ms=slot_ms,
            slots_sent=self._departures.slots() if pattern and self._departures else (),
            packets=self._packets,
            duration_s=round(monotonic() - started, 3),
            problems=problems,
        )
