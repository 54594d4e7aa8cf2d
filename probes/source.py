"""The source's side of a round: every cell in copies over several flows, controls between them, answers believed by token.

Services' and catalogue ports go first and slowly, and through the kernel too; then the rest, shuffled. Copies go on until
loss cannot have hidden an open port. The inside control is the same with fewer copies and no controls of its own.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from ipaddress import ip_network

from probes.asker import ANSWER_S, Asker, until
from probes.canary import Canaries
from probes.cells import CLOSED, OPEN, SILENT, Cell, control_key, new_cell, observations
from probes.controls import PAIR, Controls, Coverage, Series
from probes.job import Job
from probes.kept import CellAt, Kept
from probes.kernelway import KernelWay
from probes.packet import ICMP, ICMP6, TCP, UDP, Packet, hops
from probes.routes import NoRoute, Route
from probes.station import Station
from probes.token import CANARY_AFTER, CANARY_BEFORE, CELL_COPIES, token
from reachability.loss import copies_needed, upper_bound
from reachability.observation import KeptPacket, Observation, SourceReport, Target
from reachability.ports import PortSet
from reachability.topology import family, in_networks, is_address
from reachability.vocabulary import Moment, Protocol, Reason

SLOWLY_PPS = 600
IN_A_BURST = 8  # sleeping for less than the pauses of so many packets is not exact
CONTROL_EVERY = 25
LEAST_CONTROLS = 48
LAST_ANSWER_S = 0.6  # after the last copy; the ones before it have had longer
INSIDE_ANSWER_S = 0.3
TAIL_S = 2.0
MOST_BATCHES = 16  # two rings full
MOST_SECONDS = 900.0
UNCONTROLLED_PASSES = 6  # where no control answers, a witness may still show that copies got out
PAIR_CONTROLS = 2
_PROTOCOLS = {TCP: Protocol.TCP, UDP: Protocol.UDP, ICMP: Protocol.ICMP, ICMP6: Protocol.ICMP}


class Source:
    """One job while it runs. `run` gives the report and how long the witnesses must listen on."""

    def __init__(self, station: Station, job: Job) -> None:
        self._station = station
        self._job = job
        self._cells: dict[tuple[str, str, Protocol, int], Cell] = {}  # source address, address, protocol, port
        self._canaries = Canaries(station, job.key)
        self._ports: dict[tuple[str, Protocol, int], int] = {}
        self._controls = Controls()
        self._asker = Asker(station, job, self._controls)
        self._host_hops: dict[str, int] = {}
        self._problems: list[str] = []
        self._early = {target.id: frozenset(PortSet.parse(target.first)) for target in job.targets}
        self._pacers: list[Cell] = []
        self._last_sent = 0.0
        self._packets = 0
        self._counts = self._captured()
        self._kept = Kept(time.monotonic())

    async def run(self) -> tuple[SourceReport, float]:
        """Do the job."""
        started = self._kept.began
        await self._prepare()
        kernel = KernelWay(self._station.bucket, self._station.flows, self._job.key, self._kept, raw=self._station.raw)
        try:
            if self._station.raw:
                await self._canaries.ask(CANARY_BEFORE)
                async with asyncio.TaskGroup() as group:
                    group.create_task(kernel.run(self._first()), name=f"kernel way of {self._job.round}")
                    await self._passes(started)
                await self._canaries.ask(CANARY_AFTER)
                if self._job.is_source:
                    await self._asker.finish(self._last_sent)
                await asyncio.sleep(self._answer_wait())
            else:
                await self._canaries.connect(kernel.connects, CANARY_BEFORE)
                await kernel.run(list(self._cells.values()))
                await self._canaries.connect(kernel.connects, CANARY_AFTER)
            self._drain()
            return self._report(kernel, started), self._tail()
        finally:
            kernel.close()
            self._end()
            for handler in (self, self._canaries, self._asker):
                self._station.flows.release(handler)

    def _drain(self) -> None:
        """Read what has come in, but not for ever: others' packets come in as well."""
        for _ in range(MOST_BATCHES):
            if not self._station.read():
                return

    def _end(self) -> None:
        """Give back what the job held."""

    # -- what the station hands back ------------------------------------------------------------------------------

    def left(self, copy: int, packet: Packet) -> None:
        """Own capture: a copy went out."""
        if copy < CELL_COPIES:
            cell = self._cell(packet.source, packet.destination, packet.protocol, packet.dport)
            if cell is not None:
                cell.saw_leave(copy, packet.at)
                self._kept.note(cell.target.id, cell.port, Moment.SENT, packet, copy)

    def answered(self, copy: int, packet: Packet) -> None:
        """Something came in to one of our ports."""
        cell = self._cell(packet.destination, packet.source, packet.protocol, packet.sport)
        if cell is None:
            return
        before = cell.level
        if not cell.answer(self._job.key, copy, packet):
            return
        if packet.protocol == TCP and before < CLOSED <= cell.level:
            self._station.bound.closed(1)
        self._kept.note(cell.target.id, cell.port, Moment.CAME_BACK, packet, copy)
        if cell.level != OPEN:
            return
        # An echo reply is the host's own; an open port may be a proxy's, so it counts where there is nothing better.
        if packet.is_echo_reply or packet.source not in self._host_hops:
            self._host_hops[packet.source] = hops(packet.ttl)

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """An ICMP error quotes a copy of ours."""
        cell = self._cell(quote.source, quote.destination, quote.protocol, quote.dport)
        if cell is not None and copy < CELL_COPIES and cell.refuse(self._job.key, copy, packet, quote):
            self._kept.note(cell.target.id, cell.port, Moment.CAME_BACK, packet, copy)

    # -- preparing ------------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        own = tuple(ip_network(text) for text in self._job.networks)
        for target in self._job.targets:
            found = await self._ways(target.address, target.source)
            error: Reason | None = None
            routes: tuple[Route, ...] = ()
            if isinstance(found, NoRoute):
                error = found.reason
            else:
                routes = found
                if not routes[0].next_hop and in_networks(target.address, own):
                    error = Reason.OWN_NETWORK
            self._lay(target, routes, error)
            if target.canary and routes and error is None:
                self._canaries.add(target, routes[0])
        for control in self._job.controls:
            for source in sorted({t.source for t in self._job.targets if self._concerns(t.address, control.address)}):
                if control.source not in {"", source}:
                    continue
                ways = await self._ways(control.address, source)
                if isinstance(ways, NoRoute) or all(t.protocol is not control.protocol for t in self._job.targets):
                    continue
                series = Series(control.address, control.protocol, control.port, control.kind, ways[0])
                if control.kind == PAIR:  # it has answered lately
                    series.sent, series.answered = [time.monotonic()], {0: time.monotonic()}
                self._controls.add(series)

    def _lay(self, target: Target, routes: tuple[Route, ...], error: Reason | None) -> None:
        """Lay out the cells of a target; with an error none of them is sent to."""
        for port in (0,) if target.protocol is Protocol.ICMP else PortSet.parse(target.ports):
            cell = new_cell(target, port, routes)
            if error is not None:
                cell.fail(error)
            self._cells[cell.source, target.address, target.protocol, port] = cell

    @staticmethod
    def _concerns(address: str, control: str) -> bool:
        return is_address(address) and family(address) == family(control)

    async def _ways(self, address: str, source: str) -> tuple[Route, ...] | NoRoute:
        if not is_address(address):
            return NoRoute(Reason.RESOLVE_FAILED)
        return await self._station.way(address, source)

    # -- sending --------------------------------------------------------------------------------------------------

    async def _passes(self, started: float) -> None:
        done = 0
        while True:
            await self._pass(max(1, self._job.copies - done), slowly=done == 0 and self._job.is_source)
            done += 1
            await until(lambda: not self._wanting(), ANSWER_S)
            if done == 1 and self._job.is_source:
                self._control_the_pair()
            if done >= min(self._wanted(done), CELL_COPIES, self._job.most_copies):
                return
            if time.monotonic() - started > MOST_SECONDS:
                self._problems.append(f"stopped after {MOST_SECONDS:.0f} s and {done} copies")
                return

    def _wanted(self, done: int) -> int:
        """How many copies the cells that are not settled must have."""
        wanting = self._wanting()
        if not wanting:
            return done
        if not self._job.is_source:
            return self._job.copies
        loss = self._controls.loss()
        if loss is None:
            return max(self._job.copies, UNCONTROLLED_PASSES)
        good = [series for series in self._controls.series if series.answered]
        if len(self._controls.stopped()) == len(good):
            return done  # banned, or the table is full: more copies prove nothing
        seen, lost = self._since_start()
        loss = max(loss, upper_bound(seen + lost, lost) or 0.0) if lost else loss
        return max(self._job.copies, copies_needed(wanting, loss) or self._job.most_copies)

    def _captured(self) -> tuple[int, int]:
        return self._station.capture.counts() if self._station.capture else (0, 0)

    def _since_start(self) -> tuple[int, int]:
        """Packets that the own capture saw, and that it lost: answers may have been among them."""
        return self._captured()[0] - self._counts[0], self._captured()[1] - self._counts[1]

    def _wanting(self) -> int:
        """How many cells further copies would tell more of."""
        return sum(map(self._wants, self._cells.values()))

    def _wants(self, cell: Cell) -> bool:
        return cell.wants(self._host_hops.get(cell.target.address))

    async def _pass(self, passes_left: int, *, slowly: bool) -> None:
        todo = [cell for cell in self._cells.values() if self._wants(cell)] + self._pacers
        first = [cell for cell in todo if self._is_early(cell)]
        rest = [cell for cell in todo if not self._is_early(cell)]
        random.shuffle(first)
        random.shuffle(rest)
        pause = max(0.0, 1 / SLOWLY_PPS - 1 / self._station.bucket.rate) if slowly else 0.0
        for number, cell in enumerate((*first, *rest)):
            await self._send(cell)
            if number < len(first) and pause and number % IN_A_BURST == IN_A_BURST - 1:
                await asyncio.sleep(IN_A_BURST * pause)
            if self._job.is_source and number % CONTROL_EVERY == CONTROL_EVERY - 1:
                await self._asker.turn()
        if self._job.is_source and todo:
            lacking = self._least_controls() - sum(len(series.sent) for series in self._controls.series)
            for _ in range(max(len(self._controls.live), -(-lacking // passes_left))):
                await self._asker.turn()

    def _least_controls(self) -> int:
        """So many that the loss they measure asks for few copies."""
        return LEAST_CONTROLS

    def _is_early(self, cell: Cell) -> bool:
        return cell.target.protocol is Protocol.ICMP or cell.port in self._early[cell.target.id]

    async def _send(self, cell: Cell) -> None:
        target, copy = cell.target, len(cell.sent)
        if copy >= CELL_COPIES:
            return
        local = self._port(cell.source, target.protocol, copy)
        tok = token(self._job.key, target.address, target.protocol, cell.port, copy)
        cell.sent.append(time.monotonic())
        for route in cell.routes:
            try:
                await self._station.send(route, target.address, target.protocol, local, cell.port, tok)
            except OSError as error:
                cell.fail(Reason.LOCAL_ERROR, f"cannot send: {error.strerror or error}")
                return
            self._packets += 1
        self._last_sent = time.monotonic()

    def _port(self, source: str, protocol: Protocol, copy: int) -> int:
        """The source port of a copy: one for all cells, so that each cell's copies differ in it."""
        key = (source, protocol, copy)
        if key not in self._ports:
            self._ports[key] = self._station.flows.reserve(self, protocol, copy)
        return self._ports[key]

    def _control_the_pair(self) -> None:
        """What answered on the pair is asked again and again, so that a ban between these two shows.

        Where no control of a kind answers, cells that did go on in every pass: a witness that sees the last copies shows
        that the others got out as well.
        """
        good = {series.key[2] for series in self._controls.series if series.answered}
        paced: dict[str, int] = {}
        taken: dict[str, int] = {}
        for cell in self._settled():
            kind = control_key(cell.target.address, cell.target.protocol)
            if cell.level >= CLOSED and kind not in good and paced.get(kind, 0) < PAIR_CONTROLS:
                paced[kind] = paced.get(kind, 0) + 1
                self._go_on_with(cell)
            if cell.level >= OPEN and cell.routes and taken.get(kind, 0) < PAIR_CONTROLS:
                taken[kind] = taken.get(kind, 0) + 1
                # That it answered once counts: if it never does again, these two were banned from each other.
                first = cell.sent[0] if cell.sent else self._last_sent
                self._controls.add(
                    Series(
                        cell.target.address,
                        cell.target.protocol,
                        cell.port,
                        PAIR,
                        cell.routes[0],
                        sent=[first],
                        answered={0: first},
                    )
                )

    def _settled(self) -> list[Cell]:
        """Cells that answered, the open ones first."""
        return sorted(self._cells.values(), key=lambda cell: -cell.level)

    def _go_on_with(self, cell: Cell) -> None:
        """Go on with a cell in every pass."""
        self._pacers.append(cell)

    # -- reporting ------------------------------------------------------------------------------------------------

    def _first(self) -> list[Cell]:
        return [cell for cell in self._cells.values() if cell.port and self._is_early(cell)]

    def _cell(self, source: str, address: str, number: int, port: int) -> Cell | None:
        protocol = _PROTOCOLS.get(number)
        if protocol is None:
            return None
        return self._cells.get((source, address, protocol, 0 if protocol is Protocol.ICMP else port))

    def _rtt_s(self) -> float:
        return max(self._rtts(), default=0.0) / 1000

    def _rtts(self) -> Sequence[float]:
        return [cell.rtt_ms for cell in self._cells.values() if cell.rtt_ms is not None]

    def _answer_wait(self) -> float:
        if not self._wanting():
            return 0.0
        least = LAST_ANSWER_S if self._job.is_source else INSIDE_ANSWER_S
        return max(0.0, self._last_sent + max(least, 4 * self._rtt_s()) - time.monotonic())

    def _tail(self) -> float:
        return max(0.0, self._last_sent + max(TAIL_S, 4 * self._rtt_s()) - time.monotonic())

    def _report(self, kernel: KernelWay, started: float) -> SourceReport:
        coverage = self._controls.coverage()
        captured, uncaptured = self._since_start()
        return SourceReport(
            round=self._job.round,
            agent=self._station.agent,
            role=self._job.role,
            observations=self._observations(coverage),
            controls=self._controls.results(self._last_sent),
            canaries=self._canaries.results(),
            kernel_flows=tuple(kernel.flows) if self._job.is_source else (),
            host_hops=self._host_hops,
            packets=self._packets + self._canaries.packets + self._asker.packets + kernel.packets,
            captured=captured,
            uncaptured=uncaptured,
            duration_s=round(time.monotonic() - started, 3),
            raw=self._station.raw,
            problems=tuple(dict.fromkeys([*self._problems, *self._canaries.problems, *self._asker.problems])),
            kept=self._packets_kept() if self._job.is_source else (),
        )

    def _packets_kept(self) -> tuple[KeptPacket, ...]:
        """Those of what was open, of what answered otherwise, and of what was silent."""
        kinds: tuple[list[CellAt], ...] = ([], [], [])
        for cell in self._cells.values():
            kind = 0 if cell.level == OPEN else 1 if cell.level > SILENT else 2
            kinds[kind].append((cell.target.id, cell.port))
        return self._kept.take(self._kept.choose(*kinds))

    def _observations(self, coverage: Coverage) -> tuple[Observation, ...]:
        def covers(cell: Cell, at: float) -> bool:
            key = (cell.source, cell.via, control_key(cell.target.address, cell.target.protocol))
            return coverage.covers(key, cell.target.address, at)

        return observations(self._cells.values(), covers, raw=self._station.raw)
