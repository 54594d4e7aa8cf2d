"""When a source sends, waits and ends, on virtual time and a network that is a function: a packet to the delay of its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from probes import clock
from probes.context import Station
from probes.packets.flow_budget import FlowBound
from probes.packets.parse import ACK, ICMP, IPV4, PACKET_OUTGOING, SYN, TCP, Packet, parse
from probes.packets.raw_socket import Bucket, Flows
from probes.packets.route import Route
from probes.packets.rx_ring import Counts
from probes.protocols import udp_payloads
from probes.source.cycle import Source
from probes.source.job import Job
from probes.sweep.raw import SweepSource
from reachability.observation import SourceReport, Target
from reachability.ports import PortSet, text_of
from reachability.vocabulary import Protocol, Role, State
from tests.support.virtual import now, run

KEY = bytes(range(16))
OWN, END = "10.10.0.10", "10.30.0.10"
ROUTE = Route("eth0", "10.10.0.1", OWN, b"\x02" * 6)
OPEN_PORT = 80  # the others are silent, unless a test says otherwise


class Net:
    """Wire, capture, routes and rings of a station at once. `delay_s` says when a packet is answered, None for never."""

    is_half_full = False

    def __init__(self, delay_s: Callable[[Packet], float | None]) -> None:
        self.delay_s = delay_s
        self.sent: list[tuple[float, Packet]] = []  # seconds since the scene began
        self.readers: list[object] = []
        self.station: Station

    def counts(self) -> Counts:
        return Counts(0, 0)

    def read(self) -> None:
        """All is handed out when it comes."""

    async def lookup(self, destination: str, source: str) -> tuple[Route, ...]:
        return (ROUTE,)

    async def send(self, route: Route, destination: str, data: bytes) -> None:
        await self.station.bucket.take()
        self._carry(data)

    def way(self, route: Route) -> str:
        return "ring"

    def put(self, route: Route, ethertype: int, frames: Any, lengths: Any) -> int:
        for frame, length in zip(np.asarray(frames), lengths, strict=True):
            self._carry(frame[:length].tobytes())
        return len(frames)

    def _carry(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        packet = parse(data, PACKET_OUTGOING, "eth0", IPV4, loop.time())
        assert packet is not None
        self.sent.append((now(), packet))
        self.station.flows.dispatch(packet)
        delay_s = self.delay_s(packet)
        if delay_s is not None:
            loop.call_later(delay_s, self._answer, packet)

    def _answer(self, packet: Packet) -> None:
        at = asyncio.get_running_loop().time()
        back = Packet(
            at, True, True, "eth0", 4, packet.destination, OWN, 62, packet.protocol, packet.dport, packet.sport
        )
        if packet.protocol == TCP:
            back.flags, back.seq, back.ack = SYN | ACK, 7, (packet.seq + 1) & 0xFFFFFFFF
        elif packet.protocol == ICMP:
            back.icmp_type, back.icmp_id, back.payload = 0, packet.icmp_id, packet.payload
        self.station.flows.dispatch(back)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a source did; times are seconds since it began."""

    report: SourceReport
    sent: list[tuple[float, Packet]]
    ended: float
    listen_until: float  # what it says of the witnesses

    def at(self, port: int) -> list[float]:
        return [at for at, packet in self.sent if packet.dport == port]

    def states(self) -> dict[str, State]:
        return {text_of(o.ports) or "": o.state for o in self.report.observations}


def play(
    delay_s: Callable[[Packet], float | None] = lambda _: None,
    *,
    kind: type[Source] = Source,
    agent_pps: int = 100_000,
    round_pps: int = 0,
    flows: int = 50_000,
    **more: Any,
) -> Ran:
    """A source's job from its beginning to its end."""

    async def scene() -> Ran:
        net: Any = Net(delay_s)
        station = Station(Bucket(agent_pps), Flows(), net, "dev-1", FlowBound(flows), net, net, _spare=[net, net])
        net.station = station
        asked: dict[str, Any] = {
            "round": "r",
            "key": KEY,
            "rate_pps": round_pps,
            "targets": (target(f"22,{OPEN_PORT}"),),
        }
        job = Job(**(asked | more))
        report, tail_s = await kind(station, job).run()
        return Ran(report, net.sent, now(), now() + tail_s)

    return run(scene())


def target(ports: str, number: int = 1, address: str = END, protocol: Protocol = Protocol.TCP) -> Target:
    return Target(
        id=number, environment="prod", address=address, protocol=protocol, ports=PortSet.parse(ports), source=OWN
    )


def about(seconds: float) -> object:
    return pytest.approx(seconds, rel=0, abs=0.01)


def test_asyncio_keeps_to_the_clock_that_packets_are_stamped_by() -> None:
    async def reads() -> float:
        return clock.monotonic()

    before = time.monotonic()
    assert before <= asyncio.run(reads()) <= time.monotonic()


@pytest.mark.parametrize(
    ("kind", "rtt_s", "tail_s"),
    [(Source, 0.0004, 2.0), (Source, 0.3, 2.0), (Source, 0.55, 2.2), (SweepSource, 0.0004, 2.0)],
)
def test_witnesses_listen_for_two_seconds_or_four_round_trips_after_the_last_copy(
    kind: type[Source], rtt_s: float, tail_s: float
) -> None:
    ran = play(lambda packet: rtt_s if packet.dport == OPEN_PORT else None, kind=kind)
    assert ran.states() == {"22": State.FILTERED, str(OPEN_PORT): State.OPEN}
    assert ran.listen_until == about(ran.at(22)[-1] + tail_s)


@pytest.mark.parametrize(
    ("role", "delay_s", "state"),
    [
        (Role.SOURCE, 0.55, State.OPEN),
        (Role.SOURCE, 0.65, State.FILTERED),
        (Role.INSIDE, 0.25, State.OPEN),
        (Role.INSIDE, 0.35, State.FILTERED),
    ],
)
def test_the_last_copy_has_its_time_to_be_answered(role: Role, delay_s: float, state: State) -> None:
    last = 3 if role is Role.INSIDE else 6  # as many copies as there are where no control answers
    seen: list[Packet] = []

    def answers(packet: Packet) -> float | None:
        seen.append(packet)
        return delay_s if len(seen) == last else None

    ran = play(answers, targets=(target("22"),), role=role, copies=3)
    assert len(seen) == last
    assert ran.states() == {"22": state}
    assert ran.ended <= ran.at(22)[-1] + 0.62


def test_a_round_of_which_all_is_known_ends_at_once() -> None:
    ran = play(lambda _: 0.0004)
    assert set(ran.states().values()) == {State.OPEN}
    assert ran.ended < 0.01


def test_what_goes_first_goes_slowly() -> None:
    """A burst to every well-known port would be lost, or taken for an attack."""
    pings = tuple(target("", n, f"10.30.1.{n}", Protocol.ICMP) for n in range(1, 65))
    ran = play(lambda _: 0.0004, targets=pings)
    assert ran.sent[63][0] == pytest.approx(56 / 600, rel=0.05)
    again = play(lambda _: 0.0004, targets=pings, role=Role.INSIDE)
    assert again.sent[63][0] < 0.01, "who has no boundary between need not"


def test_a_source_gives_up_after_a_quarter_of_an_hour() -> None:
    ran = play(targets=(target("1-200"),), agent_pps=1)
    assert ran.report.problems == ("stopped after 900 s and 5 copies",)
    assert ran.ended == pytest.approx(5 * 200, abs=3.0)
    assert {o.sent for o in ran.report.observations} == {5}


@pytest.mark.parametrize(("agent_pps", "round_pps"), [(50, 0), (100_000, 50)])
def test_a_rate_holds_from_the_first_packet_to_the_last(agent_pps: int, round_pps: int) -> None:
    ran = play(targets=(target("1-100"),), agent_pps=agent_pps, round_pps=round_pps)
    times = [at for at, _ in ran.sent]
    assert len(times) == 600
    for index in range(len(times) - 50):
        assert times[index + 50] - times[index] >= 0.97, "fifty a second"


def test_a_sweep_waits_for_room_and_resets_what_nobody_answered() -> None:
    """Of a bound of 400 flows two batches of 200 take all; the third goes when the first was reset and is forgotten."""
    ran = play(kind=SweepSource, targets=(target("1-600"),), agent_pps=10_000, flows=400, copies=1, most_copies=1)
    opened = [at for at, packet in ran.sent if packet.is_syn]
    resets = [at for at, packet in ran.sent if not packet.is_syn]
    assert (len(opened), opened[399] < 1.0) == (600, True)
    assert resets[0] == pytest.approx(2.0, abs=0.2)
    assert 12.0 <= opened[400] <= 13.3, "routers keep what was closed for ten seconds"
    assert ran.listen_until == about(max(opened[-1], resets[-1]) + 2.0)


def test_where_no_witness_looks_for_a_token_every_copy_is_what_a_service_of_the_port_answers() -> None:
    """Else one datagram of several would decide, the kernel's: to a resolver a token is noise, dropped or not."""
    asked = play(targets=(target("53,9000", protocol=Protocol.UDP),))
    payloads = {port: [p.payload for _, p in asked.sent if p.dport == port] for port in (53, 9000)}
    assert set(payloads[53]) == {udp_payloads.REQUESTS[53]}
    assert len(payloads[53]) >= 4
    assert len(set(payloads[9000])) == len(payloads[9000]), "a token each"
    watched = play(targets=(replace(target("53", protocol=Protocol.UDP), witness="prod-1"),))
    assert udp_payloads.REQUESTS[53] not in [p.payload for _, p in watched.sent]


def answering(packet: Packet) -> float | None:
    return 0.01 if packet.dport == OPEN_PORT else None


@pytest.mark.parametrize("kind", [Source, SweepSource])
def test_what_is_beside_the_cells_goes_out_in_every_pass_and_asks_for_none(kind: type[Source]) -> None:
    """Answered or not: its witness's last copy speaks for the passes before it. Of the pair it says nothing."""
    ports = "22,1000-1300"
    beside = replace(target(str(OPEN_PORT), 2, "10.20.0.10"), beside=True, witness="stage-1")
    ran = play(answering, kind=kind, targets=(target(ports), beside))
    copies = len(ran.at(22))
    assert copies >= 3
    assert len(ran.at(OPEN_PORT)) == copies, "a copy a pass, and no control"
    assert ran.states()[str(OPEN_PORT)] is State.OPEN
    alone = play(answering, targets=(target(str(OPEN_PORT)), replace(beside, ports=PortSet.of([81]))))
    assert len(alone.at(81)) == 1, "nothing is left to be asked after the first pass"
