"""The packet child: `python -m probes.child`.

It alone touches raw packets, lives while there are rounds, holds CAP_NET_RAW and nothing else, and starts no program. Orders come
in on stdin, what was found goes out on stdout.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from probes.child.gated import Permitted, Send, at_most, carried_out, in_force, permitted
from probes.child.inside import Insides
from probes.child.protocol import (
    ChildArmed,
    Configure,
    FromChild,
    Halted,
    Log,
    Ready,
    SourceDone,
    ToChild,
    Unframer,
    WitnessDone,
    frame,
)
from probes.context import Station
from probes.gate import Gate
from probes.host import counters, privileges
from probes.host.privileges import Confined
from probes.packets.flow_budget import FlowBound
from probes.packets.parse import Packet
from probes.packets.raw_socket import Bucket, Flows, Wire
from probes.source.job import Job
from probes.witness.liveness import Provoker
from probes.witness.witness import Witness, WitnessDeps
from reachability.arrival import WitnessReport
from reachability.observation import SourceReport
from reachability.vocabulary import Role, RoundKind
from wire.messages import Arm, Close, Go, Stop
from wire.process.parent import die_with
from wire.process.privileges import Held

if TYPE_CHECKING:
    from probes.source.cycle import Source

TICK_S = 0.02
SWITCH_S = 0.0005  # how long the thread that sends waits for the interpreter


class Child:
    """Runs the orders of one daemon."""

    def __init__(self, configuration: Configure, write: Callable[[FromChild], None]) -> None:
        from probes.host.routes import Routes  # noqa: PLC0415
        from probes.packets.rx_ring import Capture  # noqa: PLC0415

        self._write = write
        self.lacks = ""
        bounds = configuration.bounds
        bucket = Bucket(at_most(configuration.rate_pps, bounds.rate_pps))
        bound = FlowBound(at_most(configuration.flows, bounds.flows), configuration.held)
        self._gate = Gate(*in_force(configuration))
        self.station = Station(bucket, Flows(), Routes(), configuration.agent, bound, gate=self._gate)
        try:
            self.station.capture = Capture()
            self.station.wire = Wire(bucket, self._gate)
        except PermissionError:
            self.lacks = "this process lacks CAP_NET_RAW"
        except OSError as error:
            self.lacks = f"it may not open packet sockets (AF_PACKET): {error.strerror or error}"
        deps = None
        capture = self.station.capture
        if capture is not None:
            provoker = Provoker(self.station, (configuration.broker_host, configuration.broker_port))
            deps = WitnessDeps(
                facts=counters.read,
                local=self.station.routes.local,
                xdp=self.station.routes.with_xdp,
                gateways=lambda: frozenset(a for ip in (4, 6) for _, a in self.station.routes.gateways(ip)),
                provoke=provoker.provoke,
                drops=lambda: capture.counts().lost,
            )
            self.station.listen()
        self.witness = Witness(configuration.agent, deps)
        if deps is not None and capture is not None:
            self.station.listeners.append(self._packet)
            capture.readers.append(self.witness.sweep_reader.read)
        self._insides = Insides(configuration.agent, self._control_inside, self._controlled)
        self._inside_only: set[str] = set()  # rounds in which nothing is listened for
        self._halted = False

    def ready(self, confined: Confined) -> Ready:
        """What it holds."""
        notes, files = confined
        return Ready(raw=self.station.raw, lacks=self.lacks, notes=notes, files=files, holds=_held())

    def order(self, order: ToChild, group: asyncio.TaskGroup) -> None:
        """Begin what an order asks for."""
        match order:
            case Arm():
                group.create_task(self._guard(order.round, self._arm(order, group)), name=f"arm {order.round}")
            case Go():
                group.create_task(self._guard(order.round, self._go(order)), name=f"go {order.round}")
            case Close():
                again = self._insides.close(order.round, again=order.again)
                group.create_task(self._guard(order.round, again), name=f"inside again {order.round}")
                group.create_task(self._guard(order.round, self._close(order)), name=f"close {order.round}")
            case Stop():
                raise SystemExit(0)
            case Configure():
                self.station.bucket.rate = max(1, at_most(order.rate_pps, order.bounds.rate_pps))
                self.station.bound.most = at_most(order.flows, order.bounds.flows)
                self._gate.take(*in_force(order))

    async def tick(self) -> None:
        """Counters and late copies, for as long as the child lives."""
        while True:
            await asyncio.sleep(TICK_S)
            for report in self.witness.tick():
                self._write(WitnessDone(report=report))

    async def _arm(self, arm: Arm, group: asyncio.TaskGroup) -> None:
        if arm.inside:
            group.create_task(self._guard(arm.round, self._insides.ask(arm)), name=f"inside {arm.round}")
        self._inside_only.discard(arm.round)
        if not arm.targets:
            self._inside_only.add(arm.round)
        problems = await self.witness.arm(arm) if arm.targets else ()
        # What ails one address of several is in its health; not ok is who does not listen at all.
        listens = not arm.targets or self.witness.listens(arm.round)
        self._write(ChildArmed(round=arm.round, ok=listens, problems=problems))

    async def _control_inside(self, job: Job) -> SourceReport:
        may = permitted(job.targets, (), self._gate)
        kept = replace(job, targets=may.targets)
        report, _ = await self._held(may, job.round, job.role, lambda: self._source(kept).run())
        return report

    def _controlled(self, report: SourceReport) -> None:
        if not self._halted:
            self._write(SourceDone(report=report, held=self.station.bound.held()))

    async def _go(self, go: Go) -> None:
        may = permitted(go.targets, go.controls, self._gate)
        kept = msgspec.structs.replace(go, targets=may.targets, controls=may.controls)
        report, tail_s = await self._held(may, go.round, Role.SOURCE, lambda: self._sent(kept))
        if not self._halted:
            self._write(SourceDone(report=report, tail_s=tail_s, held=self.station.bound.held()))

    async def _held(self, may: Permitted, round_id: str, role: Role, send: Send) -> tuple[SourceReport, float]:
        """What comes of sending what may be sent; the rest is said in the report."""
        found = await carried_out(may, SourceReport(round=round_id, agent=self.station.agent, role=role), send)
        if may.targets:
            self._halt()  # what it was in the way of is no answer
        return found

    def _halt(self) -> None:
        """Where a blackout has begun while something was being sent, which the gate has ended: the daemon answers for it."""
        if not self._halted and (why := self._gate.refuses_now()):
            self._halted = True
            self._write(Halted(why=why))

    async def _sent(self, go: Go) -> tuple[SourceReport, float]:
        from probes.source import parts  # noqa: PLC0415 - scapy
        from probes.source.followups import FollowUps  # noqa: PLC0415
        from probes.source.trace import Trace  # noqa: PLC0415

        match go.kind:
            case RoundKind.NORMAL:
                return await parts.run(Job.source(go), self._source)
            case RoundKind.CHALLENGE:
                return await FollowUps(self.station, go).challenge()
            case RoundKind.NOPORTS:
                return await FollowUps(self.station, go).noports()
            case RoundKind.TRACE:
                return await Trace(self.station, go).run()

    def _source(self, job: Job) -> Source:
        from probes.source.cycle import Source  # noqa: PLC0415
        from probes.sweep.connect import ConnectSource  # noqa: PLC0415 - scapy
        from probes.sweep.raw import SweepSource  # noqa: PLC0415

        if not SweepSource.fits(job):
            return Source(self.station, job)
        return SweepSource(self.station, job) if self.station.raw else ConnectSource(self.station, job)

    async def _close(self, close: Close) -> None:
        if close.round not in self._inside_only:
            self._write(WitnessDone(report=await self.witness.close(close.round)))
        self._inside_only.discard(close.round)

    async def _guard(self, round_id: str, work: Awaitable[None]) -> None:
        """A probe that crashes is an observation that says so, and ends its own round only."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is, the daemon must hear of it
            text = "".join(traceback.format_exception(error))[-2000:]
            self._write(Log(level="error", text=text, round=round_id))
            problem = f"the probe failed: {type(error).__name__}: {error}"
            self._write(SourceDone(report=SourceReport(round=round_id, agent=self.station.agent, problems=(problem,))))
            self._write(
                WitnessDone(report=WitnessReport(round=round_id, agent=self.station.agent, problems=(problem,)))
            )

    def _packet(self, packet: Packet) -> None:
        self.witness.packet(packet)


async def main(confined: Confined) -> None:
    """Read orders until stdin ends; what `confined` lacks is for the daemon."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb", 0))
    output = os.fdopen(1, "wb", 0)

    def write(message: FromChild) -> None:
        data = memoryview(frame(message))
        try:
            while data:
                data = data[output.write(data) or 0 :]
        except BrokenPipeError:
            os._exit(0)  # the daemon was killed

    unframer = Unframer(ToChild)  # type: ignore[arg-type]
    child: Child | None = None
    async with asyncio.TaskGroup() as group:
        while data := await reader.read(256 * 1024):
            for message in unframer.feed(data):
                if child is None:
                    if not isinstance(message, Configure):
                        raise SystemExit("the first message has to configure the child")
                    child = Child(message, write)
                    write(child.ready(confined))
                    group.create_task(child.tick(), name="tick")
                else:
                    child.order(message, group)  # type: ignore[arg-type]
        os._exit(0)  # the daemon closed its end: nobody waits for what is under way


def _held() -> Held | None:
    with contextlib.suppress(OSError):
        return Held.read()
    return None


if __name__ == "__main__":
    die_with(int(sys.argv[1]) if len(sys.argv) > 1 else os.getppid())
    privileges.raise_file_limit()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal's group: the parent decides
    sys.setswitchinterval(SWITCH_S)
    asyncio.run(main(privileges.confine()))
