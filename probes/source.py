"""The source's side of a round: every cell in copies over several flows, controls between them, answers believed by token.

Services' and catalogue ports go first and slowly, and through the kernel too; then the rest, shuffled. Copies go on until
loss cannot have hidden an open port. The inside control is the same with fewer copies and no controls of its own.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network

from probes.cells import CLOSED, OPEN, Cell, control_key, observations
from probes.controls import FIRST_COPY, Controls, Series
from probes.kernelway import KernelWay
from probes.packet import ICMP6, Packet, hops
from probes.routes import NoRoute, Route
from probes.station import Station
from probes.token import CELL_COPIES, inside_key, token
from reachability.loss import copies_needed
from reachability.observation import CanaryResult, ControlTarget, SourceReport, Target
from reachability.ports import PortSet
from reachability.topology import family, in_networks, is_address
from reachability.vocabulary import Protocol, Reason, State
from wire.messages import Arm, Go

SLOWLY_PPS = 600
CONTROL_EVERY = 25
LEAST_CONTROLS = 48
ANSWER_S = 0.12  # between passes
LAST_ANSWER_S = 1.0
TAIL_S = 2.0
MOST_SECONDS = 900.0
UNCONTROLLED_PASSES = 6  # where no control answers, a witness may still show that copies got out
CANARY_COPIES = (120, 124)
PAIR_CONTROLS = 2


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done, of a `Go` or of an `Arm` for the inside control."""

    round: str
    key: bytes
    targets: tuple[Target, ...]
    role: str
    networks: tuple[str, ...] = ()
    controls: tuple[ControlTarget, ...] = ()
    copies: int = 4
    most_copies: int = 48

    @classmethod
    def source(cls, go: Go) -> Job:
        """The source's job."""
        return cls(go.round, go.key, go.targets, "source", go.networks, go.controls, go.copies, go.most_copies)

    @classmethod
    def inside(cls, arm: Arm) -> Job:
        """The inside control's job: up to three copies of each endpoint until it answers."""
        own = tuple(replace(target, source="") for target in arm.inside)
        return cls(arm.round, inside_key(arm.key), own, "inside", copies=3, most_copies=3)


class Source:
    """One job while it runs. `run` gives the report and how long the witnesses must listen on."""

    def __init__(self, station: Station, job: Job) -> None:
        self._station = station
        self._job = job
        self._cells: dict[tuple[str, Protocol, int], Cell] = {}
        self._canaries: dict[tuple[str, int], dict[int, State]] = {}
        self._ports: dict[tuple[Protocol, int], int] = {}
        self._controls = Controls(job.key, job.round, self._send_control)
        self._host_hops: dict[str, int] = {}
        self._problems: list[str] = []
        self._early = {target.id: frozenset(PortSet.parse(target.first)) | {0} for target in job.targets}
        self._pacers: list[Cell] = []
        self._last_sent = 0.0
        self._packets = 0

    async def run(self) -> tuple[SourceReport, float]:
        """Do the job."""
        started = time.monotonic()
        await self._prepare()
        kernel = KernelWay(self._station.bucket, self._station.flows, raw=self._station.raw)
        try:
            if self._station.raw:
                await self._canary(0)
                async with asyncio.TaskGroup() as group:
                    group.create_task(kernel.run(self._first()), name=f"kernel way of {self._job.round}")
                    await self._passes(started)
                await self._canary(1)
                if self._job.role == "source":
                    await self._controls.final(self._last_sent)
                await asyncio.sleep(self._answer_wait())
            else:
                await kernel.run(list(self._cells.values()))
            self._station.read()
            return self._report(kernel, started), self._tail()
        finally:
            kernel.close()
            self._station.flows.release(self)

    # -- what the station hands back ------------------------------------------------------------------------------

    def left(self, copy: int, packet: Packet) -> None:
        """Own capture: a copy went out."""
        if copy < CELL_COPIES:
            cell = self._cell(packet.destination, packet, packet.dport)
            if cell is not None:
                cell.left.append(packet.at)

    def answered(self, copy: int, packet: Packet) -> None:
        """Something came in to one of our ports."""
        if copy >= FIRST_COPY:
            self._controls.answered(copy, packet)
            return
        if (packet.source, packet.sport) in self._canaries and copy >= CELL_COPIES:
            cell = Cell(Target(id=0, environment="", address=packet.source, protocol=Protocol.TCP), packet.sport)
            if cell.answer(self._job.key, copy, packet):
                self._canaries[packet.source, packet.sport][copy] = cell.state
            return
        cell = self._cell(packet.source, packet, packet.sport)
        if cell is not None and cell.answer(self._job.key, copy, packet) and cell.level == OPEN:
            if packet.is_echo_reply or packet.source not in self._host_hops:
                self._host_hops[packet.source] = hops(packet.ttl)

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """An ICMP error quotes a copy of ours."""
        cell = self._cell(quote.destination, quote, quote.dport)
        if cell is not None and copy < CELL_COPIES:
            cell.refuse(self._job.key, copy, packet, quote)

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
                if routes[0].next_hop == "" and in_networks(target.address, own):
                    error, routes = Reason.OWN_NETWORK, ()
            icmp = target.protocol is Protocol.ICMP
            for port in (0,) if icmp else PortSet.parse(target.ports):
                cell = Cell(target, port, routes)
                if error is not None:
                    cell.state, cell.reason = State.ERROR, error
                self._cells[target.address, target.protocol, port] = cell
            if target.canary and routes:
                self._canaries[target.address, target.canary] = {}
        await self._prepare_controls()

    async def _ways(self, address: str, source: str) -> tuple[Route, ...] | NoRoute:
        if not is_address(address):
            return NoRoute(Reason.RESOLVE_FAILED)
        return await self._station.way(address, source)

    async def _prepare_controls(self) -> None:
        sources = {(t.source, family(t.address)) for t in self._job.targets if is_address(t.address)}
        used = {(t.protocol, family(t.address)) for t in self._job.targets if is_address(t.address)}
        for control in self._job.controls:
            ip = family(control.address)
            if (control.protocol, ip) not in used:
                continue
            for source, of in sorted(sources):
                if of != ip:
                    continue
                found = await self._ways(control.address, source)
                if not isinstance(found, NoRoute):
                    self._controls.add(
                        Series(control.address, control.protocol, control.port, control.kind, found[0])
                    )

    # -- sending --------------------------------------------------------------------------------------------------

    async def _passes(self, started: float) -> None:
        copy = 0
        while True:
            await self._pass(copy)
            copy += 1
            await asyncio.sleep(ANSWER_S)
            if copy == 1:
                self._control_the_pair()
            if copy >= min(self._wanted(copy), CELL_COPIES, self._job.most_copies):
                return
            if time.monotonic() - started > MOST_SECONDS:
                self._problems.append(f"stopped after {MOST_SECONDS:.0f} s and {copy} copies")
                return

    def _wanted(self, copy: int) -> int:
        if self._job.role != "source":
            return self._job.copies
        silent = sum(not cell.settled for cell in self._cells.values())
        if not silent:
            return copy
        loss = self._controls.loss()
        if loss is None:
            return max(self._job.copies, UNCONTROLLED_PASSES)
        if all(series.went_bad for series in self._controls.series if series.answered):
            return copy  # banned, or the table is full: more copies prove nothing
        return max(self._job.copies, copies_needed(silent, loss) or self._job.most_copies)

    async def _pass(self, copy: int) -> None:
        todo = [cell for cell in self._cells.values() if not cell.settled] + self._pacers
        first = [cell for cell in todo if cell.port in self._early[cell.target.id]]
        early = {id(cell) for cell in first}
        rest = [cell for cell in todo if id(cell) not in early]
        random.shuffle(first)
        random.shuffle(rest)
        since = 0
        pause = max(0.0, 1 / SLOWLY_PPS - 1 / self._station.bucket.rate) if self._job.role == "source" else 0.0
        for number, cell in enumerate((*first, *rest)):
            await self._send(cell, copy)
            if number < len(first) and pause and number % 8 == 7:  # noqa: PLR2004 - sleeping for less is not exact
                await asyncio.sleep(8 * pause)
            since += 1
            if since >= CONTROL_EVERY and self._job.role == "source":
                since = 0
                await self._controls.one()
        if self._job.role == "source" and todo:
            live = sum(not series.hopeless for series in self._controls.series)
            lacking = LEAST_CONTROLS - sum(len(series.sent) for series in self._controls.series)
            passes_left = max(1, self._job.copies - copy)
            await self._controls.each(max(1, -(-lacking // (max(1, live) * passes_left))) if live else 0)

    async def _send(self, cell: Cell, copy: int) -> None:
        target = cell.target
        key = (target.protocol, copy)
        if key not in self._ports:
            self._ports[key] = self._station.flows.reserve(self, target.protocol, copy)
        tok = token(self._job.key, target.address, target.protocol, cell.port, copy)
        for route in cell.routes:
            cell.sent_at[copy] = time.monotonic()
            try:
                await self._station.send(route, target.address, target.protocol, self._ports[key], cell.port, tok)
            except OSError as error:
                cell.state, cell.reason = State.ERROR, Reason.LOCAL_ERROR
                cell.note = f"cannot send: {error.strerror or error}"
                return
            self._packets += 1
        self._last_sent = time.monotonic()

    async def _send_control(self, series: Series, number: int) -> None:
        _, index = self._controls.packet(number)
        local = self._station.flows.reserve(self, series.protocol, number)
        copy = Controls.copy_of(index)
        tok = token(self._job.key, series.address, series.protocol, series.port, copy)
        tail = b""
        if series.kind == "coordinator" and series.protocol is Protocol.UDP:
            tail = self._controls.request(series, index)[8:]
        try:
            await self._station.send(series.route, series.address, series.protocol, local, series.port, tok, tail)
            self._packets += 1
        except OSError as error:
            if len(self._problems) < 5:  # noqa: PLR2004 - one says it
                self._problems.append(f"cannot send a control to {series.address}: {error.strerror or error}")

    async def _canary(self, when: int) -> None:
        """Two copies to a port that nobody serves, before and after: a host that is open there is open everywhere."""
        for (address, port), _ in self._canaries.items():
            cell = next(c for c in self._cells.values() if c.target.address == address)
            for extra in range(2):
                copy = CANARY_COPIES[when] + extra
                local = self._station.flows.reserve(self, Protocol.TCP, copy)
                tok = token(self._job.key, address, Protocol.TCP, port, copy)
                try:
                    await self._station.send(cell.routes[0], address, Protocol.TCP, local, port, tok)
                except OSError as error:
                    self._problems.append(f"cannot send a canary: {error}")
                self._packets += 1
        if self._canaries and when == 0:
            await asyncio.sleep(ANSWER_S)

    def _control_the_pair(self) -> None:
        """What answered on the pair is asked again and again, so that a ban between these two shows.

        Where no control of a kind answers, cells that did go on in every pass: a witness that sees the last copies shows
        that the others got out as well.
        """
        good = {series.key[2] for series in self._controls.series if series.answered}
        paced: dict[str, int] = {}
        for cell in sorted(self._cells.values(), key=lambda cell: -cell.level):
            kind = control_key(cell.target.address, cell.target.protocol)
            if cell.level >= CLOSED and kind not in good and paced.get(kind, 0) < PAIR_CONTROLS:
                paced[kind] = paced.get(kind, 0) + 1
                self._pacers.append(cell)
        taken: dict[str, int] = {}
        for cell in sorted(self._cells.values(), key=lambda cell: -cell.level):
            kind = control_key(cell.target.address, cell.target.protocol)
            if cell.level < OPEN or not cell.routes or taken.get(kind, 0) >= PAIR_CONTROLS:
                continue
            taken[kind] = taken.get(kind, 0) + 1
            self._controls.add(Series(cell.target.address, cell.target.protocol, cell.port, "pair", cell.routes[0]))

    # -- reporting ------------------------------------------------------------------------------------------------

    def _first(self) -> list[Cell]:
        return [cell for cell in self._cells.values() if cell.port and cell.port in self._early[cell.target.id]]

    def _cell(self, address: str, packet: Packet, port: int) -> Cell | None:
        if packet.protocol == 6:  # noqa: PLR2004 - TCP
            return self._cells.get((address, Protocol.TCP, port))
        if packet.protocol == 17:  # noqa: PLR2004 - UDP
            return self._cells.get((address, Protocol.UDP, port))
        if packet.protocol in (1, ICMP6):
            return self._cells.get((address, Protocol.ICMP, 0))
        return None

    def _rtt_s(self) -> float:
        rtts: Sequence[float] = [cell.rtt_ms for cell in self._cells.values() if cell.rtt_ms is not None]
        return max(rtts, default=0.0) / 1000

    def _answer_wait(self) -> float:
        if all(cell.settled for cell in self._cells.values()):
            return 0.0
        least = LAST_ANSWER_S if self._job.role == "source" else 0.3
        return max(0.0, self._last_sent + max(least, 4 * self._rtt_s()) - time.monotonic())

    def _tail(self) -> float:
        return max(0.0, self._last_sent + max(TAIL_S, 4 * self._rtt_s()) - time.monotonic())

    def _report(self, kernel: KernelWay, started: float) -> SourceReport:
        job = self._job
        canaries = []
        for (address, port), states in self._canaries.items():
            target = next(t for t in job.targets if t.address == address and t.canary == port)

            def at(when: int, states: dict[int, State] = states) -> State:
                found = [states.get(CANARY_COPIES[when] + extra) for extra in range(2)]
                return next((state for state in found if state is not None), State.FILTERED)

            canaries.append(CanaryResult(target=target.id, address=address, port=port, before=at(0), after=at(1)))
        return SourceReport(
            round=job.round,
            agent=self._station.agent,
            role=job.role,
            observations=observations(self._cells.values(), self._controls.covered_until, raw=self._station.raw),
            controls=self._controls.results(self._last_sent),
            canaries=tuple(canaries),
            kernel_flows=tuple(kernel.flows) if job.role == "source" else (),
            host_hops=self._host_hops,
            packets=self._packets,
            duration_s=round(time.monotonic() - started, 3),
            raw=self._station.raw,
            problems=tuple(dict.fromkeys(self._problems)),
        )
