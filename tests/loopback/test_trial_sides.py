"""Where the reports of a try meet, over real sockets and pipes; the packet children are played."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from cli.errors import Problem
from cli.trial.child import Outcome, TrialChild, Voice
from cli.trial.destination import Destination
from cli.trial.meeting import MOST_CALLERS, Caller, Meeting, Pasted, dial
from cli.trial.source import Source, outside
from probes.child.protocol import Configure, FromChild, Ready, SourceDone, Unframer, frame
from reachability.arrival import ArrivalRow, CounterSlot, NoPortsGroup, WitnessHealth, WitnessReport
from reachability.observation import ControlResult, Observation, SourceReport, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, RoundKind, State
from tests.support.ports import free_port
from tests.support.waiting import HANG_S
from wire.envelope import BadMessage
from wire.messages import Arm, Go
from wire.trial import SENT, VERSION, Asked, Concluded, Line, Seal, Sent, digest, to_text

HOST = "127.0.0.1"


def line() -> Line:
    return Line(
        VERSION,
        "0a1b2c3d",
        os.urandom(16),
        free_port(),
        50000,
        (Asked(HOST, PortSet.parse("22,80"), PortSet.parse("53")),),
    )


class Played(TrialChild):
    """A child that answers what a test says, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__("played")
        self.asked: list[Any] = []

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def arm(self, arm: Arm) -> tuple[str, ...]:
        self.asked.append(arm)
        return ()

    async def go(self, go: Go) -> SourceDone:
        self.asked.append(go)
        seen = tuple(_silence(target) for target in go.targets)
        control = ControlResult(
            address=HOST,
            protocol=Protocol.TCP,
            kind="meeting",
            source_address="10.10.0.10",
            via="eth0 10.10.0.1",
            sent=2000,
            answered=2000,
        )
        report = SourceReport(round=go.round, agent="source", observations=seen, controls=(control,), duration_s=1.0)
        return SourceDone(report=report)

    async def close(self, round_id: str) -> WitnessReport:
        arm = next(order for order in self.asked if isinstance(order, Arm) and order.round == round_id)
        health = WitnessHealth(address=HOST, healthy=True, udp_unbound=8, noports=4)
        udp = tuple(t for t in arm.targets if t.protocol is Protocol.UDP)
        arrivals = tuple(
            ArrivalRow(target=t.id, address=HOST, protocol=t.protocol, copies=8, ports=t.ports, last_copy=7)
            for t in udp
        )
        slots = tuple(CounterSlot(seconds=0.2, arrived=arrived) for arrived in (1, 0, 1, 0, 1))
        groups = tuple(
            NoPortsGroup(target=number, ports=ports, arrived=3, moved=0, slots=slots) for number, ports in arm.groups
        )
        return WitnessReport(
            round=round_id, agent="destination", arrivals=arrivals, health=(health,), groups=groups, listened_s=3.0
        )


def _silence(target: Target) -> Observation:
    return Observation(
        target=target.id, source_address="10.10.0.10", address=HOST, protocol=target.protocol, state=State.FILTERED,
        reason=Reason.NO_RESPONSE, ports=target.ports, way="raw", via="eth0 10.10.0.1", sent=8, covered=8, flows=8,
    )  # fmt: skip


class Person:
    """Types what a test gives it, and keeps what it is told."""

    def __init__(self) -> None:
        readable, self._writable = os.pipe()
        self.heard: list[str] = []
        self.handed: asyncio.Queue[str] = asyncio.Queue()
        self.voice = Voice(self.heard.append, lambda _, text: self.handed.put_nowait(text), Pasted(readable))

    def types(self, text: str) -> None:
        os.write(self._writable, f"{text}\n".encode())

    def leaves(self) -> None:
        os.close(self._writable)


def sides(asked: Line) -> tuple[Destination, Source, Person, Person]:
    there, here = Person(), Person()
    destination = Destination(asked, there.voice, ("", 0))
    source = Source(asked, here.voice, (), ((HOST, asked.meet),))
    destination._child, source._child = Played(), Played()
    return destination, source, there, here


async def run(destination: Destination, source: Source) -> tuple[Outcome, Outcome]:
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        at_host = group.create_task(destination.run(lambda *_: ready.set()), name="destination")
        await ready.wait()
        at_source = group.create_task(source.run(), name="source")
    return at_host.result(), at_source.result()


@pytest.mark.asyncio
async def test_reports_that_meet_settle_what_is_open_in_a_further_round() -> None:
    destination, source, there, here = sides(line())
    at_host, at_source = await run(destination, source)
    assert at_host.complete
    assert at_host.cells == at_source.cells
    assert there.handed.empty(), "nothing had to be carried"
    assert here.handed.empty()
    kinds = [order.kind for order in source._child.asked]  # type: ignore[attr-defined]
    assert kinds == [RoundKind.NORMAL, RoundKind.NOPORTS]
    (udp,) = (cell.evidence for cell in at_source.cells if cell.protocol is Protocol.UDP)
    assert udp.noports_still is True


@pytest.mark.asyncio
async def test_a_person_carries_what_cannot_meet() -> None:
    asked = line()
    destination, source, there, here = sides(asked)
    source._places = ((HOST, 1),)  # nobody listens there

    async def carry() -> None:
        sent = await here.handed.get()
        there.types("what is this")
        there.types(to_text(SENT, Seal(line()).close(Sent(report=SourceReport(round="r", agent="a")))))  # another try's
        there.types(sent)
        told = await there.handed.get()
        stale = Concluded(of=bytes(8), cells=())
        here.types(to_text("told1.", Seal(asked).close(stale)))
        here.types(told)

    async with asyncio.TaskGroup() as group:
        group.create_task(carry(), name="person")
        done = group.create_task(run(destination, source), name="sides")
    at_host, at_source = done.result()
    assert at_host.cells == at_source.cells
    assert [text for text in there.heard if "not a report from this try" in text] == there.heard
    assert len(there.heard) == 2
    assert any("another report" in text for text in here.heard)


@pytest.mark.asyncio
async def test_without_an_answer_the_source_tells_what_it_alone_can() -> None:
    _, source, _, here = sides(line())
    here.leaves()
    outcome = await source.run()
    assert not outcome.complete
    assert {cell.evidence.arrival.value for cell in outcome.cells} == {"no-witness"}


@pytest.mark.asyncio
async def test_an_empty_line_ends_the_destination_with_what_it_alone_saw() -> None:
    destination, _, there, _ = sides(line())
    there.types("")
    outcome = await destination.run(lambda *_: None)
    assert not outcome.complete
    assert outcome.cells == ()
    assert outcome.witness is not None


@pytest.mark.asyncio
async def test_a_meeting_port_that_is_taken_is_said_and_what_to_do() -> None:
    asked = line()
    destination, *_ = sides(asked)
    with socket.create_server((HOST, asked.meet)), pytest.raises(Problem) as caught:
        await destination.run(lambda *_: None)
    assert str(asked.meet) in caught.value.lines[0]
    assert "--meet" in caught.value.lines[1]


@pytest.mark.asyncio
async def test_the_meeting_hangs_up_on_who_does_not_know_the_key() -> None:
    mine, foreign = line(), line()
    meeting = Meeting(Seal(mine))
    await meeting.listen([HOST], mine.meet)
    try:
        stranger = await dial(Seal(foreign), [(HOST, mine.meet)])
        friend = await dial(Seal(mine), [(HOST, 1), (HOST, mine.meet)])
        assert stranger is not None
        assert friend is not None
        report = SourceReport(round=mine.round, agent="source")
        await stranger.tell(Sent(report=report))
        with pytest.raises(ConnectionError):
            await stranger.told(HANG_S)
        await friend.tell(Sent(report=report))
        sent, caller = await meeting.callers.get()
        assert sent.report == report
        await caller.tell(Concluded(of=digest(report), cells=()))
        assert isinstance(await friend.told(HANG_S), Concluded)
        for each in (stranger, friend, caller):
            await each.close()
        crowd = [c for _ in range(MOST_CALLERS + 1) if (c := await dial(Seal(mine), [(HOST, mine.meet)])) is not None]
        assert await crowd[-1].reader.read() == b"", "who comes when there are too many is hung up on at once"
        for each in crowd:
            await each.close()
    finally:
        meeting.close()


@pytest.mark.asyncio
async def test_a_frame_longer_than_any_report_is_refused() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"\xff\xff\xff\xff")
    with pytest.raises(BadMessage, match="not one of ours"):
        await Caller(Seal(line()), reader, None).sent(1)  # type: ignore[arg-type]


def test_a_further_round_goes_nowhere_but_where_the_line_says() -> None:
    asked = line()
    source = Source(asked, Person().voice, (), ())
    order = Go(round="r", key=bytes(16), kind=RoundKind.NORMAL, targets=asked.targets(), controls=asked.controls())
    assert source._checked(order) == order
    (tcp, udp) = asked.targets()
    for wrong in (
        {"targets": (replace(tcp, ports=PortSet.parse("22-23")),)},
        {"targets": (replace(udp, address="10.0.0.1"),)},
        {"targets": (replace(tcp, protocol=Protocol.ICMP, ports=PortSet()),)},
        {"controls": outside("10.0.0.1", 443)},
    ):
        with pytest.raises(BadMessage):
            source._checked(msgspec.structs.replace(order, **wrong))


def test_a_resolver_is_asked_over_udp_too() -> None:
    assert [c.protocol for c in outside("10.0.0.53", 53)] == [Protocol.TCP, Protocol.ICMP, Protocol.UDP]
    assert [c.protocol for c in outside("fd00::1", 443)] == [Protocol.TCP, Protocol.ICMP]


def test_a_packet_child_leaves_ctrl_c_to_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "probes.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(frame(Configure(agent="a")))
        child.stdin.flush()
        (ready,) = Unframer(FromChild).feed(os.read(child.stdout.fileno(), 65536))  # type: ignore[arg-type]
        assert isinstance(ready, Ready)
        child.send_signal(signal.SIGINT)
        child.stdin.close()
        assert child.wait(HANG_S) == 0
