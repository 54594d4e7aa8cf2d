"""The source's side of a round: every cell in copies over several flows, controls between them, answers believed by token.

Services' and catalogue ports go first and slowly, and through the kernel too; then the rest, shuffled. Copies go on until
loss cannot have hidden an open port. The inside control is the same with fewer copies and no controls of its own.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_network

from probes.clock import monotonic
from probes.context import Station
from probes.packets.raw_socket import Bucket
from probes.packets.retained import Kept
from probes.packets.route import Route
from probes.packets.rx_ring import Counts
from probes.packets.token import CANARY_AFTER, CANARY_BEFORE, CELL_COPIES, token
from probes.path.legs import Legs
from probes.path.ways import ways_to
from probes.source.canary import Canaries
from probes.source.cell import Cell, new_cell, observations
from probes.source.cell_table import Cells
from probes.source.control_sender import ANSWER_S, ControlSender, until
from probes.source.controls import Controls, Coverage
from probes.source.job import Job
from probes.source.kernel_connect import KernelWay
from probes.source.pair import copies_wanted, covers, of_the_pair
from reachability.distance import Distances
from reachability.observation import KeptPacket, Observation, SourceReport, Target
from reachability.vocabulary import Protocol, Reason

SLOWLY_PPS = 600
IN_A_BURST = 8  # sleeping for less than the pauses of this many packets is not exact
CONTROL_EVERY = 25
LEAST_CONTROLS = 48
LAST_ANSWER_S = 0.6  # after the last copy; the ones before it have had longer
INSIDE_ANSWER_S = 0.3
TAIL_S = 2.0
MOST_PPS = 1_000_000_000  # no bound of the round's own
MOST_BATCHES = 16  # two rings full
MOST_SECONDS = 900.0


class Source:
    """One job while it runs. `run` gives the report and how long the witnesses must listen on."""

    def __init__(self, station: Station, job: Job) -> None:
        self._station = station
        self._job = job
        self._canaries = Canaries(station, job.key)
        self._controls = Controls()
        self._distances = Distances()
        self._control_sender = ControlSender(station, job, self._controls, self._distances)
        self._problems: list[str] = []
        self._early = {target.id: frozenset(target.first) for target in job.targets}
        self._pacers: list[Cell] = []
        self._last_sent = 0.0
        self._packets = 0
        self._counts = self._captured()
        self._kept = Kept(monotonic())
        self._cells = Cells(station, job.key, self._kept, self._distances)
        self._bucket = Bucket(job.rate_pps or MOST_PPS)
        self._legs = Legs(station, job.key, self._bucket)
        self.sent = asyncio.Event()  # all, but for what tells whether the last of it got out

    async def run(self) -> tuple[SourceReport, float]:
        """Do the job."""
        started = self._kept.began
        await self._prepare()
        kernel = KernelWay(self._station, self._job.key, self._kept)
        try:
            if self._station.raw:
                await self._canaries.ask(CANARY_BEFORE)
                async with asyncio.TaskGroup() as group:
                    group.create_task(kernel.run(self._first()), name=f"kernel way of {self._job.round}")
                    await self._passes(started)
                self.sent.set()
                await self._canaries.ask(CANARY_AFTER)
                await self._last_answers()
            else:
                await self._canaries.connect(kernel.connects, CANARY_BEFORE)
                await self._through_kernel(kernel)
                await self._canaries.connect(kernel.connects, CANARY_AFTER)
            self._drain()
            return self._report(kernel, started), self._tail()
        finally:
            self.sent.set()
            kernel.close()
            self._end()
            for handler in (self._cells, self._canaries, self._control_sender):
                self._station.flows.release(handler)

    async def _last_answers(self) -> None:
        """Wait for them; meanwhile ask the controls a last time, and count the legs of paths on which there is silence."""
        silent = [(cell.target, cell.routes) for cell in self._cells if self._wants(cell)]
        if self._job.is_source:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._legs.count(silent, LAST_ANSWER_S), name=f"legs of {self._job.round}")
                await self._control_sender.finish(self._last_sent)
        await asyncio.sleep(self._answer_wait())

    async def _through_kernel(self, kernel: KernelWay) -> None:
        """Try everything without raw sockets."""
        await kernel.run(list(self._cells))

    def _drain(self) -> None:
        """Read what has come in, but not for ever: others' packets come in as well."""
        for _ in range(MOST_BATCHES):
            if not self._station.read():
                return

    def _end(self) -> None:
        """Give back what the job held."""

    async def _prepare(self) -> None:
        own = tuple(ip_network(text) for text in self._job.networks)
        for target in self._job.targets:
            routes, error = await ways_to(self._station, target, own, own_host=self._job.own_host)
            self._lay(target, routes, error)
            if target.canary and error is None:
                self._canaries.add(target, routes[0])
        await self._control_sender.lay_out(self._several())

    def _lay(self, target: Target, routes: tuple[Route, ...], error: Reason | None) -> None:
        """Lay out the cells of a target; with an error none of them is sent to."""
        for port in target.ports:
            cell = new_cell(target, port, routes)
            if error is not None:
                cell.fail(error)
            elif target.beside:
                self._go_on_with(cell)
            self._cells.add(cell)

    def _several(self) -> set[Route]:
        """The ways of cells whose copies leave by more than one."""
        return {route for cell in self._cells if cell.routes[1:] for route in cell.routes}

    async def _passes(self, started: float) -> None:
        done = 0
        while True:
            await self._pass(max(1, self._job.copies - done), slowly=done == 0 and self._job.is_source)
            done += 1
            await until(lambda: not self._wanting(), ANSWER_S)
            if self._job.is_source:
                self._control_the_pair(first=done == 1)
            if done >= min(self._wanted(done), CELL_COPIES, self._job.most_copies):
                return
            if monotonic() - started > MOST_SECONDS:
                self._problems.append(f"stopped after {MOST_SECONDS:.0f} s and {done} copies")
                return

    def _wanted(self, done: int) -> int:
        """How many copies the cells that are not settled must have."""
        if not self._wanting():
            return done
        if not self._job.is_source:
            return self._job.copies
        return copies_wanted(self._controls, self._since_start(), self._count(), self._job)

    def _count(self) -> int:
        """All cells of the job: loss hides one of those that answer, however few are silent in the end."""
        return len(self._cells)

    def _captured(self) -> Counts:
        return self._station.capture.counts() if self._station.capture else Counts(0, 0)

    def _since_start(self) -> Counts:
        """What was lost may have been answers."""
        return self._captured().since(self._counts)

    def _wanting(self) -> int:
        """How many cells further copies would tell more of."""
        return sum(map(self._wants, self._cells))

    def _wants(self, cell: Cell) -> bool:
        return not cell.target.beside and cell.wants(self._distances.host.get(cell.target.address))

    async def _pass(self, passes_left: int, *, slowly: bool) -> None:
        todo = [cell for cell in self._cells if self._wants(cell)] + self._pacers
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
                await self._control_sender.turn()
        if self._job.is_source and todo:
            lacking = self._controls.lacking(self._least_controls())
            for _ in range(max(len(self._controls.live), -(-lacking // passes_left))):
                await self._control_sender.turn()

    def _least_controls(self) -> int:
        """So many that the loss they measure asks for few copies."""
        return LEAST_CONTROLS

    def _is_early(self, cell: Cell) -> bool:
        return cell.target.protocol is Protocol.ICMP or cell.port in self._early[cell.target.id]

    async def _send(self, cell: Cell) -> None:
        target, copy = cell.target, len(cell.sent)
        if copy >= CELL_COPIES:
            return
        local = self._cells.source_port(cell, copy)
        tok = token(self._job.key, target.address, target.protocol, cell.port, copy)
        cell.sent.append(monotonic())
        for route in cell.routes:
            await self._bucket.take()
            try:
                await self._station.send(
                    route, target.address, target.protocol, local, cell.port, tok, body=cell.request
                )
            except OSError as error:
                cell.fail(Reason.LOCAL_ERROR, f"cannot send: {error.strerror or error}")
                return
            self._packets += 1
        self._last_sent = monotonic()

    def _control_the_pair(self, *, first: bool) -> None:
        """What answered the first pass is asked again and again, so that a ban between these two shows.

        Where no control of a kind answers, cells that did go on in every pass: a witness of the last copies shows the others.
        """
        going_on, series = of_the_pair(self._settled(), self._controls, self._last_sent)
        for cell in going_on:
            self._go_on_with(cell)
        for each in series if first else ():
            self._controls.add(each)

    def _settled(self) -> list[Cell]:
        """Cells that answered, the open ones first."""
        return sorted((cell for cell in self._cells if not cell.target.beside), key=lambda cell: -cell.level)

    def _go_on_with(self, cell: Cell) -> None:
        """Go on with a cell in every pass."""
        if cell not in self._pacers:
            self._pacers.append(cell)

    def _first(self) -> list[Cell]:
        return [cell for cell in self._cells if cell.port and self._is_early(cell)]

    def _rtt_s(self) -> float:
        return max(self._rtts(), default=0.0) / 1000

    def _rtts(self) -> Sequence[float]:
        return [cell.rtt_ms for cell in self._cells if cell.rtt_ms is not None]

    def _answer_wait(self) -> float:
        if not self._wanting():
            return 0.0
        least = LAST_ANSWER_S if self._job.is_source else INSIDE_ANSWER_S
        return max(0.0, self._last_sent + max(least, 4 * self._rtt_s()) - monotonic())

    def _tail(self) -> float:
        return max(0.0, self._last_sent + max(TAIL_S, 4 * self._rtt_s()) - monotonic())

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
            host_hops=self._distances.host,
            least_hops=self._distances.least,
            legs=self._legs.found,
            packets=self._packets
            + sum(part.packets for part in (self._canaries, self._control_sender, self._legs, kernel)),
            captured=captured,
            uncaptured=uncaptured,
            duration_s=round(monotonic() - started, 3),
            raw=self._station.raw,
            problems=tuple(dict.fromkeys([*self._problems, *self._canaries.problems, *self._control_sender.problems])),
            kept=self._packets_kept() if self._job.is_source else (),
        )

    def _packets_kept(self) -> tuple[KeptPacket, ...]:
        return self._kept.take(self._kept.choose(*self._cells.by_kind()))

    def _observations(self, coverage: Coverage) -> tuple[Observation, ...]:
        return observations(self._cells, partial(covers, coverage), raw=self._station.raw)
