"""The source's side of a sweep: as `probes.source.cycle`, with cells in columns, packets in batches and a ring for each way.

The first pass goes as fast as the agent's rate allows, further copies no faster than what measured as losing nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.clock import monotonic
from probes.context import Station
from probes.packets.burst import burst
from probes.packets.flow_budget import LOOK_S
from probes.packets.port_arrays import WINDOWS, Mask, Places
from probes.packets.raw_socket import BURST_S
from probes.packets.route import Route, ethertype_of
from probes.packets.token import CELL_COPIES
from probes.packets.tx_ring import Frames, Transmitters, way_of
from probes.source.cell import SILENT, Cell
from probes.source.control_sender import Made
from probes.source.controls import Coverage
from probes.source.cycle import LEAST_CONTROLS, Source
from probes.source.job import Job
from probes.source.pair import keys_of
from probes.sweep.flights import Flights
from probes.sweep.passes import Passes
from probes.sweep.target import Block
from reachability.observation import KeptPacket, Observation, Target
from reachability.vocabulary import Protocol, Reason, SentBy, State

LEAST_CELLS = 256  # below that, columns gain nothing
BATCH = 2048
RETRANSMIT_PPS = 250_000
CONTROL_EVERY, LEAST_BETWEEN = 1000, 64
MOST_CONTROLS, CONTROLS_S = 512, 0.02  # in so short a time; the loss that they bound asks for three copies or four
RESET_AFTER_S = 2.0  # no answer is expected any more
LANES = 2  # batches that are being sent at a time: most of it is the kernel's work, which two processors share
SETTLED = 8  # answered cells of a target that may become controls of the pair


@dataclass(slots=True)
class Lane:
    """Sockets of its own, what is being sent by them, and the controls that follow it."""

    transmitters: Transmitters
    sending: asyncio.Future[int] | None = None
    behind: list[Made] = field(default_factory=list)


class Begun(NamedTuple):
    """A lot of packets that opened flows."""

    at: float
    block: Block
    places: NDArray[np.uint16]
    copy: int
    port: int  # that it left from


class SweepSource(Source):
    """One job of TCP and UDP targets without ports that go first."""

    _way = SentBy.RAW

    def __init__(self, station: Station, job: Job) -> None:
        super().__init__(station, job)
        self._blocks: list[Block] = []
        self._failed: list[Observation] = []
        self._flights = Flights(station, job.key, self._blocks, self._kept, self._distances)
        self._lanes = tuple(Lane(station.take_transmitters()) for _ in range(LANES))
        self._speed = Passes(self._controls, min(station.bucket.rate, RETRANSMIT_PPS, self._bucket.rate))
        self._copy = -1
        self._began = self._kept.began
        self._every, self._since_control, self._turn = CONTROL_EVERY, 0, 0
        self._begun: deque[Begun] = deque()
        self._ended: list[float] = []  # when each pass was out

    @staticmethod
    def fits(job: Job) -> bool:
        """Whether columns are what the job wants."""
        plain = all(t.protocol is not Protocol.ICMP and not t.first for t in job.targets)
        return plain and sum(len(t.ports) for t in job.targets) >= LEAST_CELLS

    # -- what a source does ---------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        await super()._prepare()
        self._flights.begin()

    def _end(self) -> None:
        self._flights.end()
        for lane in self._lanes:
            if lane.sending is None:
                self._station.give_back(lane.transmitters)
            else:  # the round was stopped
                lane.transmitters.close()

    def _lay(self, target: Target, routes: tuple[Route, ...], error: Reason | None) -> None:
        if error is None:
            block = Block(target, routes, self._job.key, self._way)
            block.pacers[:] = target.beside
            self._blocks.append(block)
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
                way=self._way,
            )
        )

    def _least_controls(self) -> int:
        return max(LEAST_CONTROLS, min(MOST_CONTROLS, int(self._station.bucket.rate * CONTROLS_S)))

    def _several(self) -> set[Route]:
        return {route for block in self._blocks if block.routes[1:] for route in block.routes}

    def _count(self) -> int:
        return sum(map(len, self._blocks))

    def _wanting(self) -> int:
        return sum(int(np.count_nonzero(self._wants_of(block))) for block in self._blocks)

    async def _pass(self, passes_left: int, *, slowly: bool) -> None:
        del slowly  # nothing in a sweep goes first
        if passes_left == 1:
            await self._wait_out()
        self._copy += 1
        copy = self._copy
        self._speed.begin(self._packets, self._since_start())
        least = self._least_controls() // passes_left
        self._every = min(CONTROL_EVERY, max(LEAST_BETWEEN, self._wanting() // max(1, least)))
        self._since_control = 0
        rate = self._speed.bucket.rate if copy else min(self._station.bucket.rate, self._bucket.rate)
        size = max(1, min(BATCH, int(rate * BURST_S)))
        order = np.random.default_rng()
        queues = []
        for block in self._blocks:
            wanted = self._wants_of(block) | block.pacers if copy < CELL_COPIES else np.zeros(len(block), bool)
            for window in range(len(WINDOWS)):
                places = np.flatnonzero(wanted & (block.window == window)).astype(np.int32)
                if len(places):
                    local = self._flights.source_port(block, copy, window)
                    queues.append((block, local, order.permutation(places)))
        while queues:  # a batch of each target in turn
            waiting = []
            for block, local, places in queues:
                await self._send_batch(block, places[:size], copy, local)
                if len(places) > size:
                    waiting.append((block, local, places[size:]))
            queues = waiting
        for _ in self._lanes:
            await self._free_lane()
        self._drain()
        self._speed.end(self._packets)
        self._ended.append(monotonic())
        if self._job.is_source and self._wanting():
            for _ in self._controls.live:
                await self._control_sender.turn()

    def _wanted(self, done: int) -> int:
        said = self._speed.adapt(self._since_start())
        if said:
            self._problems.append(said)
        void = len(self._controls.void)  # passes that count for nothing
        return super()._wanted(done - void) + void

    async def _wait_out(self) -> None:
        """Before the last pass of a quick sweep: until the spread since the first one that counts is over."""
        if self._ended and any((block.level == SILENT).any() for block in self._blocks):
            counted = self._ended[min(len(self._controls.void), len(self._ended) - 1)]
            await asyncio.sleep(max(0.0, counted + self._job.spread_s - monotonic()))

    async def _send_batch(self, block: Block, places: Places, copy: int, local: int) -> None:
        await self._make_room(block, places, copy, local)
        controls = await self._due(len(places))
        packets = len(places) * len(block.routes)
        await self._station.bucket.take(packets + len(controls))
        await (self._speed.bucket if copy else self._bucket).take(packets)
        frames = block.frames(places, copy, local)
        lane = await self._free_lane()
        block.sends(places, copy, monotonic() - self._began)
        self._hand_over(lane, block, frames, controls)
        await asyncio.sleep(0)
        if self._station.capture is not None and self._station.capture.is_half_full:
            self._drain()

    async def _due(self, packets: int) -> list[tuple[int, Made]]:
        """The controls among this many packets, each with how many go before it: what is lost for speed hits them as well."""
        found: list[tuple[int, Made]] = []
        if self._job.is_source:
            for behind in range(self._every - self._since_control, packets + 1, self._every):
                made = await self._control_sender.make()
                if made is not None:
                    found.append((behind, made))
        self._since_control = (self._since_control + packets) % self._every
        return found

    def _hand_over(self, lane: Lane, block: Block, frames: Frames, controls: Sequence[tuple[int, Made]] = ()) -> None:
        """Send them in a thread: in the system call the kernel carries each packet as far as it gets on this machine.

        What comes back is read meanwhile, and the next batch made. Controls that go another way follow.
        """
        way = way_of(block.routes[0], ethertype_of(block.target.address))
        among = [(behind, made.data) for behind, made in controls if way == made.way]
        lane.behind = [made for _, made in controls if way != made.way]
        lane.sending = asyncio.get_running_loop().run_in_executor(
            None, self._put, lane.transmitters, block, frames, among
        )

    async def _free_lane(self) -> Lane:
        """The lane whose turn it is, once what it was given has left."""
        lane = self._lanes[self._turn % LANES]
        self._turn += 1
        if lane.sending is not None:
            self._packets += await lane.sending
            lane.sending = None
            self._last_sent = monotonic()
        while lane.behind:
            await self._control_sender.launch(lane.behind.pop(0))
        return lane

    def _put(self, transmitters: Transmitters, block: Block, frames: Frames, among: Sequence[tuple[int, bytes]]) -> int:
        done = 0
        for route in block.routes:
            try:
                rows, lengths = burst(frames, among if route is block.routes[0] else ())
                done += transmitters.put(route, ethertype_of(block.target.address), rows, lengths)
                block.way = transmitters.way(route)
            except OSError as error:
                self._problems.append(f"cannot send to {block.target.address}: {error.strerror or error}")
        return done

    async def _make_room(self, block: Block, places: Places, copy: int, local: int) -> None:
        """Wait until the bound on flows lets this many more be made; what nobody answers is reset meanwhile."""
        bound = self._station.bound
        while not bound.has_room(len(places)):
            if not self._begun or self._begun[0].at + RESET_AFTER_S > monotonic():
                await asyncio.sleep(LOOK_S)
                self._drain()
                continue
            old = self._begun.popleft()
            silent = old.block.silent(old.places.astype(np.int32))
            if len(silent):
                await self._station.bucket.take(len(silent))
                self._hand_over(await self._free_lane(), old.block, old.block.resets(silent, old.copy, old.port))
                bound.closed(len(silent))
        bound.add(block.target.protocol, len(places))
        if block.target.protocol is Protocol.TCP:
            self._begun.append(Begun(monotonic(), block, places.astype(np.uint16), copy, local))

    def _wants_of(self, block: Block) -> Mask:
        if block.target.beside:  # it goes on in every pass, and asks for none
            return np.zeros(len(block), bool)
        return block.wants(self._distances.host.get(block.target.address))

    def _settled(self) -> list[Cell]:
        found = [cell for block in self._blocks if not block.target.beside for cell in block.answered(SETTLED)]
        return sorted(found, key=lambda cell: -cell.level)

    def _go_on_with(self, cell: Cell) -> None:
        for block in self._blocks:
            if block.target is cell.target:
                block.pacers[block.place[cell.port]] = True

    def _packets_kept(self) -> tuple[KeptPacket, ...]:
        return self._flights.kept.take(self._blocks)

    def _rtts(self) -> Sequence[float]:
        return [block.rtt_ms for block in self._blocks if block.rtt_ms is not None]

    def _observations(self, coverage: Coverage) -> tuple[Observation, ...]:
        return (*self._failed, *(o for block in self._blocks for o in self._of(block, coverage)))

    def _of(self, block: Block, coverage: Coverage) -> Iterable[Observation]:
        def covers(when: NDArray[np.float32]) -> Mask:
            at = self._began + when.astype(np.float64)
            shown = np.ones(len(at), bool)
            for key in keys_of(block.routes, block.target):
                shown &= coverage.covers_each(key, block.target.address, at)
            return shown

        return block.observations(covers, self._began)
