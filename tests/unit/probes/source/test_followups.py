"""What the source sends in a challenge, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from probes.packets.build import Template
from probes.packets.flow_budget import FlowBound
from probes.packets.parse import IPV4, PACKET_OUTGOING, Packet, parse
from probes.packets.raw_socket import Bucket, Flows
from probes.packets.route import Route
from probes.source.followups import SLOTS, FollowUps
from reachability.observation import ControlTarget, SourceReport, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, RoundKind
from tests.support.virtual import now, run
from wire.messages import Go

OWN, END, ELSEWHERE = "10.10.0.10", "10.30.0.10", "10.0.0.1"
ROUTE = Route("eth0", "10.10.0.1", OWN, b"\x02" * 6)
TARGET = Target(id=1, environment="prod", address=END, protocol=Protocol.TCP, ports=PortSet.parse("22,80"))
CONTROL = ControlTarget(address=ELSEWHERE, protocol=Protocol.TCP, port=8883)


class Station:
    """Notes when packets go to the target; what goes elsewhere is answered, or not."""

    raw, agent = True, "dev-1"

    def __init__(self, costs_s: float, answers: Callable[[], bool]) -> None:
        self.costs_s, self.answers = costs_s, answers
        self.flows, self.bucket, self.bound = Flows(), Bucket(100_000), FlowBound()
        self.sent: list[tuple[float, int]] = []

    async def way(self, destination: str, source: str) -> tuple[Route, ...]:
        return (ROUTE,)

    async def send(
        self, route: Route, destination: str, protocol: Protocol, local: int, port: int, token: bytes, *, fresh: bool
    ) -> None:
        await asyncio.sleep(self.costs_s)
        self.sent.append((now(), port))

    def build(
        self,
        route: Route,
        destination: str,
        protocol: Protocol,
        local: int,
        port: int,
        token: bytes,
        *,
        tail: bytes,
        body: bytes,
    ) -> bytes:
        return Template(route.source, destination, protocol).build(local, port, token)

    async def launch(self, route: Route, destination: str, data: bytes) -> None:
        at = asyncio.get_running_loop().time()
        packet = parse(data, PACKET_OUTGOING, "eth0", IPV4, at)
        assert packet is not None
        if self.answers():
            back = Packet(at, True, True, "eth0", 4, destination, OWN, 62, 6, packet.dport, packet.sport, 0x12)
            back.ack = (packet.seq + 1) & 0xFFFFFFFF
            self.flows.dispatch(back)


def challenge(costs_s: float = 0.0, answers: Callable[[], bool] = lambda: True) -> tuple[Station, SourceReport]:
    """`costs_s`: what a packet takes."""

    async def scene() -> tuple[Station, SourceReport]:
        station = Station(costs_s, answers)
        go = Go(round="R1", key=bytes(16), kind=RoundKind.CHALLENGE, targets=(TARGET,), controls=(CONTROL,))
        report, _ = await FollowUps(station, go).challenge()  # type: ignore[arg-type]
        return station, report

    return run(scene())


def test_every_port_gets_two_packets_in_each_on_slot_and_none_in_the_others() -> None:
    station, report = challenge()
    assert len(report.slots) == SLOTS
    began = station.sent[0][0] - report.slots.index(1) * report.slot_ms / 1000
    for port in (22, 80):
        slots = [round((at - began) / report.slot_ms * 1000) for at, to in station.sent if to == port]
        assert slots == [index for index, on in enumerate(report.slots) if on for _ in range(2)]


def test_packets_still_get_out_after_a_challenge_or_it_says_so() -> None:
    _, report = challenge()
    assert [(c.address, c.ended_good) for c in report.controls] == [(ELSEWHERE, True)]
    _, report = challenge(answers=lambda: False)
    assert [(c.answered, c.ended_good) for c in report.controls] == [(0, False)]


def test_a_challenge_that_fell_behind_its_pattern_was_not_sent() -> None:
    _, report = challenge(costs_s=0.05)
    assert report.slots == ()
    assert "behind its pattern" in report.problems[0]
