"""The source's side of a sweep: as `probes.source`, with cells in columns, packets in batches and a ring each way.

The first pass goes as fast as the agent's rate allows, further copies no faster than what measured as losing nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from probes import classify
from probes.block import WINDOWS, Block, Flight, Mask, Places, hops_of
from probes.capture import Batch
from probes.cells import Cell, control_key, quotes, verify
from probes.columns import Columns, split
from probes.controls import Coverage
from probes.flowbound import LOOK_S
from probes.job import Job
from probes.keptsweep import KeptSweep
from probes.packet import ACK, RST, SYN, Packet, hops
from probes.routes import Route, ethertype_of
from probes.sender import BURST_S, NUMBER, Bucket
from probes.source import LEAST_CONTROLS, Source
from probes.station import Station
from probes.token import CELL_COPIES
from probes.txring import PlainTx, TxRing, open_tx
from reachability.observation import KeptPacket, Observation, Target
from reachability.ports import PortSet
from reachability.topology import family
from reachability.vocabulary import Protocol, Reason, State

LEAST_CELLS = 256  # below that, columns are no gain
BATCH = 2048
RETRANSMIT_PPS = 100_000
CONTROL_EVERY = 1000
MOST_CONTROLS, CONTROLS_S = 512, 0.02  # in so short a time; the loss that they bound asks for three copies or four
RESET_AFTER_S = 2.0  # no answer is expected any more
SETTLED = 8  # answered cells of a target that may become controls of the pair

_Key = tuple[str, int, bytes, bool, int]


class SweepSource(Source):
    """One job of TCP and UDP targets without ports that go first."""

    def __init__(self, station: Station, job: Job) -> None:
        super().__init__(station, job)
        self._blocks: list[Block] = []
        self._failed: list[Observation] = []
        self._flights: list[tuple[str, int]] = []  # (source address, copy) by the number that `_by_port` has
        self._by_port = {p: np.full(65536, -1, np.int16) for p in (Protocol.TCP, Protocol.UDP)}
        self._locals: dict[Flight, int] = {}
        self._transmitters: dict[_Key, TxRing | PlainTx] = {}
        self._pace = Bucket(RETRANSMIT_PPS)
        self._copy = -1
        self._began = self._kept.began
        self._packets_of = KeptSweep(self._kept, self._began, self._locals)
        self._since_control = 0
        self._begun: deque[tuple[float, Block, Places, int, int]] = deque()  # when, what, copy, source port

    @staticmethod
    def fits(job: Job) -> bool:
        """Whether columns are what the job wants."""
        plain = all(t.protocol is not Protocol.ICMP and not t.first for t in job.targets)
        return plain and sum(len(PortSet.parse(t.ports)) for t in job.targets) >= LEAST_CELLS

    # -- what the ring and the station hand over ------------------------------------------------------------------

    def read(self, batch: Batch) -> Mask:
        """Use up the packets of the sweep's own source ports; whatever is odd is left to be looked at one by one."""
        used = np.zeros(len(batch), bool)
        for columns in split(batch):
            protocol = Protocol.TCP if columns.protocol == NUMBER[Protocol.TCP] else Protocol.UDP
            flights = self._by_port[protocol][np.where(columns.outgoing, columns.sport, columns.dport)]
            mine = flights >= 0
            if mine.any():
                self._read(columns.take(mine), protocol, flights[mine], used)
        return used

    def left(self, copy: int, packet: Packet) -> None:
        """Own capture: a packet that the ring's reader left over."""
        found = self._place(packet.destination, packet.protocol, packet.dport, packet.source)
        if found is not None and copy < CELL_COPIES:
            found[0].saw_leave(np.array([found[1]], np.int32), copy)

    def answered(self, copy: int, packet: Packet) -> None:
        """An answer that the ring's reader left over."""
        found = self._place(packet.source, packet.protocol, packet.sport, packet.destination)
        if found is None:
            return
        block, place = found
        target, port = block.target, int(block.numbers[place])
        said = verify(self._job.key, target.address, target.protocol, port, copy, packet)
        if said is not None:
            self._packets_of.came_alone(block, place, copy, packet, said[0])
            self._took(block, np.array([place], np.int32), said[0], np.array([hops(packet.ttl)], np.int16))

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """An ICMP error quotes a copy of ours."""
        found = self._place(quote.destination, quote.protocol, quote.dport, quote.source)
        if found is None or copy >= CELL_COPIES:
            return
        block, place = found
        target, port = block.target, int(block.numbers[place])
        if not quotes(self._job.key, target.address, target.protocol, port, copy, quote):
            return
        state, reason = classify.icmp(packet.protocol, packet.icmp_type, packet.icmp_code)
        if state is not State.ERROR:
            self._packets_of.came_alone(block, place, copy, packet, reason)
            block.refuse(place, copy, reason, packet.source, hops(packet.ttl))

    def _read(self, columns: Columns, protocol: Protocol, flights: NDArray[np.int16], used: Mask) -> None:
        outgoing = columns.outgoing
        far = np.where(outgoing, columns.destination, columns.source)
        ports = np.where(outgoing, columns.dport, columns.sport)
        for block in self._blocks:
            target = block.target
            if target.protocol is not protocol or family(target.address) != columns.family:
                continue
            places = block.place[ports]
            here = (far == block.packed) & (places >= 0)
            for number in np.unique(flights[here]).tolist():
                source, copy = self._flights[number]
                if source != block.source:
                    continue
                rows = here & (flights == number)
                went = rows & outgoing
                if went.any():
                    used[columns.rows[went]] = True
                    opened = went & columns.opens
                    block.saw_leave(places[opened], copy)
                    self._packets_of.left(block, columns.take(opened), places[opened], copy)
                came = rows & ~outgoing & columns.to_host
                if came.any() and block.knows(copy):
                    self._answers(block, columns.take(came), places[came], copy, used)

    def _answers(self, block: Block, columns: Columns, places: Places, copy: int, used: Mask) -> None:
        distance = hops_of(columns.ttl)
        at = columns.batch.at[columns.rows] - self._began
        block.rtt(round(max(0.0, float((at - block.when[copy][places]).min())) * 1000, 3))
        if block.target.protocol is Protocol.UDP:
            used[columns.rows] = True
            self._packets_of.came(block, columns, places, copy, State.OPEN)
            self._took(block, places, State.OPEN, distance)
            return
        expected = block.tokens(copy)[places, :4].copy().view(">u4")[:, 0].astype(np.uint32) + np.uint32(1)
        good = columns.ack == expected
        flags = columns.flags
        reset, opened = good & ((flags & RST) != 0), good & ((flags & (SYN | ACK | RST)) == SYN | ACK)
        used[columns.rows[reset | opened]] = True
        for state, which in ((State.CLOSED, reset), (State.OPEN, opened)):
            if which.any():
                self._packets_of.came(block, columns.take(which), places[which], copy, state)
                self._took(block, places[which], state, distance[which])

    def _took(self, block: Block, places: Places, state: State, distance: NDArray[np.int16]) -> None:
        if state is State.OPEN:
            self._host_hops.setdefault(block.target.address, int(distance[0]))
        tcp = block.target.protocol is Protocol.TCP
        if tcp:
            self._station.bound.closed(len(block.silent(places)))
        opened = Reason.SYN_ACK if tcp else Reason.UDP_RESPONSE
        closed = Reason.RESET if tcp else Reason.PORT_UNREACH
        block.took(places, state, opened if state is State.OPEN else closed, distance)

    def _place(self, address: str, number: int, port: int, source: str) -> tuple[Block, int] | None:
        for block in self._blocks:
            target = block.target
            if (target.address, NUMBER[target.protocol], block.source) == (address, number, source):
                place = int(block.place[port])
                if place >= 0:
                    return block, place
        return None

    # -- what a source does ---------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        await super()._prepare()
        assert self._station.capture is not None
        self._station.capture.readers.append(self.read)

    def _end(self) -> None:
        if self._station.capture is not None and self.read in self._station.capture.readers:
            self._station.capture.readers.remove(self.read)
        for transmitter in self._transmitters.values():
            transmitter.close()

    def _lay(self, target: Target, routes: tuple[Route, ...], error: Reason | None) -> None:
        if error is None:
            self._blocks.append(Block(target, routes, self._job.key))
            return
        self._failed.append(
            Observation(
                target=target.id,
                source_address=routes[0].source if routes else target.source,
                address=target.address,
                protocol=target.protocol,
                kind=target.protocol.value,
                name=target.name,
                ports=target.ports,
                state=State.ERROR,
                reason=error,
                via=routes[0].via if routes else "",
                way="raw",
            )
        )

    def _least_controls(self) -> int:
        return max(LEAST_CONTROLS, min(MOST_CONTROLS, int(self._station.bucket.rate * CONTROLS_S)))

    def _wanting(self) -> int:
        return sum(int(np.count_nonzero(self._wants_of(block))) for block in self._blocks)

    async def _pass(self, passes_left: int, *, slowly: bool) -> None:
        del slowly  # nothing in a sweep goes first
        self._copy += 1
        copy = self._copy
        rate = self._station.bucket.rate if copy == 0 else min(self._station.bucket.rate, RETRANSMIT_PPS)
        size = max(1, min(BATCH, int(rate * BURST_S)))
        order = np.random.default_rng()
        queues = []
        for block in self._blocks:
            wanted = self._wants_of(block) | block.pacers if copy < CELL_COPIES else np.zeros(len(block), bool)
            for window in range(len(WINDOWS)):
                places = np.flatnonzero(wanted & (block.window == window)).astype(np.int32)
                if len(places):
                    local = self._source_port(block, copy, window)
                    queues.append((block, local, order.permutation(places)))
        while queues:  # a batch of each target in turn
            waiting = []
            for block, local, places in queues:
                await self._send_batch(block, places[:size], copy, local)
                if len(places) > size:
                    waiting.append((block, local, places[size:]))
            queues = waiting
        if self._job.is_source and self._wanting():
            lacking = self._least_controls() - sum(len(series.sent) for series in self._controls.series)
            for _ in range(max(len(self._controls.live), -(-lacking // passes_left))):
                await self._asker.turn()
                self._drain()

    async def _send_batch(self, block: Block, places: Places, copy: int, local: int) -> None:
        await self._make_room(block, places, copy, local)
        await self._station.bucket.take(len(places))
        if copy:
            await self._pace.take(len(places))
        now = time.monotonic()
        frames = block.frames(places, copy, local, now - self._began)
        self._put(block, frames)
        self._last_sent = time.monotonic()
        self._drain()
        self._since_control += len(places)
        while self._job.is_source and self._since_control >= CONTROL_EVERY:
            self._since_control -= CONTROL_EVERY
            await self._asker.turn()
        await asyncio.sleep(0)

    def _put(self, block: Block, frames: NDArray[np.uint8]) -> None:
        for route in block.routes:
            try:
                self._packets += self._transmitter(route, block).put(frames)
            except OSError as error:
                self._problems.append(f"cannot send to {block.target.address}: {error.strerror or error}")

    async def _make_room(self, block: Block, places: Places, copy: int, local: int) -> None:
        """Wait until the bound on flows lets so many more be made; what nobody answers is reset meanwhile."""
        bound = self._station.bound
        while not bound.has_room(len(places)):
            if not self._begun or self._begun[0][0] + RESET_AFTER_S > time.monotonic():
                await asyncio.sleep(LOOK_S)
                self._drain()
                continue
            _, old, begun, number, port = self._begun.popleft()
            silent = old.silent(begun)
            if len(silent):
                await self._station.bucket.take(len(silent))
                self._put(old, old.resets(silent, number, port))
                bound.closed(len(silent))
        bound.add(block.target.protocol, len(places))
        if block.target.protocol is Protocol.TCP:
            self._begun.append((time.monotonic(), block, places, copy, local))

    def _transmitter(self, route: Route, block: Block) -> TxRing | PlainTx:
        ethertype = ethertype_of(block.target.address)
        key = (route.interface, ethertype, route.link, route.local, block.frame_length)
        found = self._transmitters.get(key)
        if found is None:
            found = self._transmitters[key] = open_tx(route, ethertype, block.frame_length)
        return found

    def _source_port(self, block: Block, copy: int, window: int) -> int:
        """One for all cells of a copy, source address and window, so that each cell's copies differ in it."""
        protocol = block.target.protocol
        key = (block.source, protocol, copy, window)
        if key not in self._locals:
            local = self._locals[key] = self._station.flows.reserve(self, protocol, copy, WINDOWS[window])
            self._by_port[protocol][local] = len(self._flights)
            self._flights.append((block.source, copy))
        return self._locals[key]

    def _wants_of(self, block: Block) -> Mask:
        return block.wants(self._host_hops.get(block.target.address))

    def _settled(self) -> list[Cell]:
        found = [cell for block in self._blocks for cell in block.answered(SETTLED)]
        return sorted(found, key=lambda cell: -cell.level)

    def _go_on_with(self, cell: Cell) -> None:
        for block in self._blocks:
            if block.target is cell.target:
                block.pacers[block.place[cell.port]] = True

    def _packets_kept(self) -> tuple[KeptPacket, ...]:
        return self._packets_of.take(self._blocks)

    def _rtts(self) -> Sequence[float]:
        return [block.rtt_ms for block in self._blocks if block.rtt_ms is not None]

    def _observations(self, coverage: Coverage) -> tuple[Observation, ...]:
        return (*self._failed, *(o for block in self._blocks for o in self._of(block, coverage)))

    def _of(self, block: Block, coverage: Coverage) -> Iterable[Observation]:
        key = (block.source, block.routes[0].via, control_key(block.target.address, block.target.protocol))
        return block.observations(lambda at: coverage.covers(key, block.target.address, self._began + at))
