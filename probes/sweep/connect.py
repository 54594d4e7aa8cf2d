"""A sweep without CAP_NET_RAW: as any program of the host would connect and send, a thousand at once.

It shows what crosses, and nothing else: without a capture of its own, silence and refusals prove no boundary. The witness
knows connections by their source ports, which the round's key gives, and datagrams by their token.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from probes import classify
from probes.clock import monotonic
from probes.kernel.datagrams import Datagrams
from probes.kernel.dialler import Called, Dialler, Ended, is_free
from probes.kernel.patience import Patience
from probes.kernel.way import Way
from probes.packets.flow_budget import LOOK_S
from probes.packets.port_arrays import WINDOWS, Mask, Places, port_set
from probes.packets.raw_socket import BURST_S
from probes.packets.token import CONNECT_COPIES, connect_ports
from probes.source.cell import CLOSED, SILENT
from probes.source.cycle import LAST_ANSWER_S, MOST_SECONDS
from probes.sweep.raw import SweepSource
from probes.sweep.target import NO_HOPS, Block
from reachability.observation import KeptPacket, KernelFlow
from reachability.vocabulary import Protocol, Reason, SentBy, State

if TYPE_CHECKING:
    from probes.context import Station
    from probes.source.job import Job
    from probes.source.kernel_connect import KernelWay

AT_ONCE = 1000
BATCH = 256
LEAST_PASSES = 2
EXPIRE_EVERY_S, IDLE_S = 0.02, 0.001
_FULL = {errno.EAGAIN, errno.ENOBUFS}


class ConnectSource(SweepSource):
    """One job of TCP and UDP targets without ports that go first, where packets cannot be sent raw."""

    _way = SentBy.CONNECT

    def __init__(self, station: Station, job: Job) -> None:
        super().__init__(station, job)
        self._dialler, self._datagrams = Dialler(station.gate), Datagrams(station.gate)
        self._most = AT_ONCE
        self._patience: dict[int, Patience] = defaultdict(Patience)  # by block
        self._copies: dict[Way, int] = {}  # of datagrams

    async def _through_kernel(self, kernel: KernelWay) -> None:
        try:
            going = {block.target.protocol for block in self._blocks}
            for copy in range(min(CONNECT_COPIES, self._job.most_copies)):
                before = {protocol: self._answered(protocol) for protocol in going}
                if Protocol.TCP in going:
                    await self._connect(kernel, copy)
                if Protocol.UDP in going:
                    await self._send_datagrams(copy)
                if monotonic() - self._began > MOST_SECONDS:
                    self._problems.append(f"stopped after {MOST_SECONDS:.0f} s and {copy + 1} copies")
                    break
                going = {
                    protocol
                    for protocol, answered in before.items()
                    if copy + 1 < self._least_passes(protocol) or self._answered(protocol) > answered
                }
                if not self._wanting() or not going:
                    break
            await self._listen(LAST_ANSWER_S)
        finally:
            self._dialler.close()
            self._datagrams.close()

    def _least_passes(self, protocol: Protocol) -> int:
        """Silence of UDP says little; for TCP a pass without news is enough."""
        return min(self._job.most_copies, max(LEAST_PASSES, self._job.copies if protocol is Protocol.UDP else 0))

    def _answered(self, protocol: Protocol) -> int:
        blocks = (block for block in self._blocks if block.target.protocol is protocol)
        return sum(int(np.count_nonzero(block.level > SILENT)) for block in blocks)

    def _wants_of(self, block: Block) -> Mask:
        return np.asarray(block.level == SILENT)

    def _packets_kept(self) -> tuple[KeptPacket, ...]:
        return ()  # there is no capture

    def _size(self) -> int:
        """Of a batch."""
        return max(1, min(BATCH, int(min(self._station.bucket.rate, self._bucket.rate) * BURST_S)))

    # -- TCP ------------------------------------------------------------------------------------------------------

    async def _connect(self, kernel: KernelWay, copy: int) -> None:
        ways: list[Way] = []
        found: list[NDArray[np.int64]] = []
        for number, block in enumerate(self._blocks):
            if block.target.protocol is not Protocol.TCP:
                continue
            for window in range(len(WINDOWS)):
                places = np.flatnonzero(self._wants_of(block) & (block.window == window)).astype(np.int32)
                way = self._way_of(block.source, copy, window) if len(places) else None
                if way is None:
                    continue
                if way not in ways:
                    ways.append(way)
                found.append(np.column_stack((np.full((len(places), 2), (number, ways.index(way))), places)))
                block.sends(places, copy, monotonic() - self._began)
                kernel.flows.append(_flow(block, places, way))
        if found:
            await self._dial(np.random.default_rng().permutation(np.concatenate(found)), ways, copy)

    async def _dial(self, calls: NDArray[np.int64], ways: list[Way], copy: int) -> None:
        """`calls`: rows of block, way, place."""
        at, looked = 0, 0.0
        size = self._size()
        while at < len(calls) or len(self._dialler):
            ended: list[Ended] = []
            room = min(self._most - len(self._dialler), len(calls) - at, size)
            if room > 0 and self._station.bound.has_room(room):
                await self._station.bucket.take(room)
                await self._bucket.take(room)
                self._station.bound.add(Protocol.TCP, room)
                at += self._begin(calls[at : at + room], ways, ended)
                self._last_sent = monotonic()
            elif room > 0 and not len(self._dialler):
                await asyncio.sleep(LOOK_S)
            ended += self._dialler.ended()
            if monotonic() - looked > EXPIRE_EVERY_S:
                looked = monotonic()
                ended += self._dialler.expired([self._patience[n].limit(copy) for n in range(len(self._blocks))])
            self._took_all(ended, copy)
            await asyncio.sleep(0 if ended or room > 0 else IDLE_S)

    def _begin(self, calls: NDArray[np.int64], ways: list[Way], ended: list[Ended]) -> int:
        """Begin these; how many there were sockets for."""
        begun = 0
        for number, way, place in calls.tolist():
            block = self._blocks[number]
            to = block.target.address, int(block.numbers[place])
            try:
                at_once = self._dialler.begin(ways[way], to, Called(number, place))
            except OSError as error:
                if not len(self._dialler):
                    raise
                self._most = len(self._dialler)  # there are no more descriptors
                self._problems.append(f"only {self._most} connections at once: {error.strerror or error}")
                break
            begun += 1
            if at_once is not None:
                ended.append(at_once)
        self._packets += begun
        return begun

    def _took_all(self, ended: list[Ended], copy: int) -> None:
        opened: dict[int, list[int]] = defaultdict(list)
        closed: dict[int, list[int]] = defaultdict(list)
        for (number, place), error, refusal, seconds in ended:
            block = self._blocks[number]
            if refusal is not None and refusal.state is not State.ERROR:
                block.refuse(place, copy, refusal.reason, refusal.by, NO_HOPS)
            elif error in {0, errno.ECONNREFUSED}:
                (closed if error else opened)[number].append(place)
            else:
                self._failed_with(block, place, copy, error)
                continue
            self._patience[number].took(seconds)
            block.rtt(round(seconds * 1000, 3))
        for places_of, state in ((opened, State.OPEN), (closed, State.CLOSED)):
            for number, places in places_of.items():
                self._station.bound.closed(len(places))
                self._reached(self._blocks[number], places, state)

    @staticmethod
    def _reached(block: Block, places: list[int], state: State) -> None:
        tcp = block.target.protocol is Protocol.TCP
        opened = Reason.SYN_ACK if tcp else Reason.UDP_RESPONSE
        reason = opened if state is State.OPEN else Reason.CONN_REFUSED
        at = np.array(places, np.int32)
        block.took(at, state, reason, np.full(len(at), NO_HOPS, np.int16))

    @staticmethod
    def _failed_with(block: Block, place: int, copy: int, error: int) -> None:
        """An error that no packet tells of. Where a pair of ports is taken, the next copy uses another."""
        if error in {errno.ETIMEDOUT, errno.EADDRNOTAVAIL, *_FULL}:
            return
        state, reason = classify.from_errno(error)
        if state is State.ERROR:
            block.fail(np.array([place], np.int32), reason)
        else:
            block.refuse(place, copy, reason, "", NO_HOPS)

    def _way_of(self, source: str, copy: int, window: int) -> Way | None:
        """The source port of a copy: the first of those that the key gives which nobody holds."""
        for port in connect_ports(self._job.key, copy, WINDOWS[window]):
            if is_free(way := Way(source, port)):
                return way
        self._problems.append(f"every source port of copy {copy} is held by another program of this host")
        return None

    # -- UDP ------------------------------------------------------------------------------------------------------

    async def _send_datagrams(self, copy: int) -> None:
        ways: dict[tuple[str, int], Way] = {}
        size = self._size()
        lots: list[tuple[Block, Way, Places]] = []
        for block in self._blocks:
            if block.target.protocol is not Protocol.UDP:
                continue
            for window in range(len(WINDOWS)):
                places = np.flatnonzero(self._wants_of(block) & (block.window == window)).astype(np.int32)
                if not len(places):
                    continue
                key = block.source, window
                if key not in ways:
                    ways[key] = self._datagrams.open(block.source, WINDOWS[window])
                    self._copies[ways[key]] = copy
                order = np.random.default_rng().permutation(places)
                lots += [(block, ways[key], order[n : n + size]) for n in range(0, len(order), size)]
        random.shuffle(lots)
        for block, way, places in lots:
            await self._send_lot(block, way, places, copy)
            self._hear()
        if lots:
            await self._listen(max(p.limit(0) for p in (Patience(), *self._patience.values())))

    async def _send_lot(self, block: Block, way: Way, places: Places, copy: int) -> None:
        await self._station.bound.take(Protocol.UDP, len(places))
        await self._station.bucket.take(len(places))
        await self._bucket.take(len(places))
        block.sends(places, copy, monotonic() - self._began)
        tokens, ports = block.tokens(copy)[places], block.numbers[places].tolist()
        for place, port, row in zip(places.tolist(), ports, tokens, strict=True):
            error = self._datagrams.send(way, row.tobytes(), (block.target.address, port))
            if error:
                self._failed_with(block, place, copy, error)
            else:
                self._packets += 1
        self._last_sent = monotonic()

    async def _listen(self, seconds: float) -> None:
        until = monotonic() + seconds
        while self._copies and monotonic() < until:
            self._hear()
            await asyncio.sleep(EXPIRE_EVERY_S)
        self._hear()  # what came in the last pause, which may be long where others have the processor

    def _hear(self) -> None:
        for way, address, port in self._datagrams.answers():
            found = self._udp_place(way, address, port)
            if found is not None and found[0].asked(found[1], self._copies[way], way.port):
                block, place = found
                self._reached(block, [place], State.OPEN)
        for way, refusal in self._datagrams.refusals():
            found = self._udp_place(way, refusal.address, refusal.port)
            if found is None or refusal.state is State.ERROR:
                continue
            block, place = found
            if block.level[place] < CLOSED:
                block.refuse(place, self._copies[way], refusal.reason, refusal.by, NO_HOPS)

    def _udp_place(self, way: Way, address: str, port: int) -> tuple[Block, int] | None:
        for block in self._blocks:
            if (block.source, block.target.address, block.target.protocol) == (way.address, address, Protocol.UDP):
                place = int(block.place[port])
                return (block, place) if place >= 0 else None
        return None


def _flow(block: Block, places: Places, way: Way) -> KernelFlow:
    return KernelFlow(
        address=block.target.address,
        protocol=block.target.protocol,
        port=0,
        ports=port_set(block.numbers[places]),
        source_address=way.address,
        source_port=way.port,
    )
