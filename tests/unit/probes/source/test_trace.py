"""The trace's probe against a network that is a table: TTL to who answers what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from probes.host.routes import NoRoute
from probes.packets.build import Template
from probes.packets.parse import ICMP, IPV4, IPV6, PACKET_HOST, PACKET_OUTGOING, RST, SYN, TCP, UDP, Packet, parse
from probes.packets.port_arrays import sources_for
from probes.packets.raw_socket import Flows
from probes.packets.route import Route
from probes.packets.token import tcp_fields
from probes.source.trace import Trace
from reachability.observation import Hop, SourceReport, Target
from reachability.ports import PortSet
from reachability.trace import MOST_TTL
from reachability.vocabulary import Protocol, Reason, RoundKind, State
from tests.support.virtual import run
from wire.messages import Go

KEY = bytes(range(16))
OWN, END, NEAR, FAR = "10.10.0.10", "10.30.0.10", "10.10.0.1", "10.40.0.2"
ROUTE = Route("eth0", NEAR, OWN, b"\x02" * 6)
Answer = Callable[[Packet], Packet | None]


def icmp(sender: str, kind: int, code: int = 0) -> Answer:
    """An ICMP error that quotes the packet."""

    def answer(quote: Packet) -> Packet:
        made = Packet(quote.at + 0.001, True, True, "eth0", 4, sender, OWN, 63, ICMP, icmp_type=kind, icmp_code=code)
        made.quote = replace(quote)
        return made

    return answer


def reply(flags: int, off: int = 0) -> Answer:
    """A TCP answer; `off` is how far its acknowledgement is from the right one."""

    def answer(packet: Packet) -> Packet:
        ack = (packet.seq + 1 + off) & 0xFFFFFFFF
        return Packet(
            packet.at + 0.002, True, True, "eth0", 4, END, OWN, 62, TCP, packet.dport, packet.sport, flags, 7, ack
        )

    return answer


def datagram(packet: Packet) -> Packet:
    return Packet(packet.at + 0.002, True, True, "eth0", 4, END, OWN, 62, UDP, packet.dport, packet.sport)


def forged(packet: Packet) -> Packet:
    """A time-exceeded that quotes the right ports, and a sequence number that it cannot know."""
    made = icmp("10.99.0.9", 11)(packet)
    assert made is not None
    assert made.quote is not None
    made.quote.seq ^= 1
    made.quote.ts_val ^= 1
    return made


class Station:
    """Sends into `network`: TTL to answers; 0 stands for every TTL that is not in it. They take `rtt_s`."""

    def __init__(
        self, network: dict[int, list[Answer]], raw: bool = True, way: object = (ROUTE,), rtt_s: float = 0.0
    ) -> None:
        self.agent, self.raw, self._way, self._rtt_s = "dev-1", raw, way, rtt_s
        self.flows = Flows()
        self.network = network
        self.sent: list[int] = []
        self.locals: list[int] = []

    async def way(self, destination: str, source: str) -> object:
        return self._way

    async def send(
        self, route: Route, destination: str, protocol: Protocol, local: int, port: int, token: bytes, *, ttl: int
    ) -> None:
        data = Template(route.source, destination, protocol, ttl=ttl).build(local, port, token)
        packet = parse(data, PACKET_OUTGOING, "eth0", IPV4, 1.0)
        assert packet is not None
        assert packet.ttl == ttl
        self.sent.append(ttl)
        self.locals.append(local)
        self.flows.dispatch(packet)
        for answer in self.network.get(ttl, self.network.get(0, [])):
            came = answer(packet)
            if came is not None and self._rtt_s:
                asyncio.get_running_loop().call_later(self._rtt_s, self.flows.dispatch, came)
            elif came is not None:
                self.flows.dispatch(came)


def trace(station: Station, protocol: Protocol = Protocol.TCP, address: str = END) -> tuple[SourceReport, float]:
    ports = "" if protocol is Protocol.ICMP else "80"
    target = Target(
        id=1, environment="prod", address=address, protocol=protocol, ports=PortSet.parse(ports), source=OWN
    )
    go = Go(round="r", key=KEY, kind=RoundKind.TRACE, targets=(target,))
    return run(Trace(station, go).run())  # type: ignore[arg-type]


def said(report: SourceReport) -> list[tuple[int, str, Reason]]:
    return [(hop.ttl, hop.address, hop.reason) for hop in report.trace]


def test_the_hops_of_an_open_port() -> None:
    station = Station({1: [icmp(NEAR, 11)], 2: [icmp(FAR, 11)], 0: [reply(SYN | 16)]})
    report, _ = trace(station)
    assert said(report)[:3] == [(1, NEAR, Reason.TTL_EXCEEDED), (2, FAR, Reason.TTL_EXCEEDED), (3, END, Reason.SYN_ACK)]
    assert station.sent == [1, 2, 3], "nothing beyond the hop that answered"
    low, high = sources_for(80)
    assert all(low <= local <= high for local in station.locals), "where the port's copies leave from"
    assert report.trace[0] == Hop(
        ttl=1, state=State.FILTERED, reason=Reason.TTL_EXCEEDED, address=NEAR, sent=1, answers=1, rtt_ms=1.0
    )
    (seen,) = report.observations
    assert (seen.state, seen.reason, seen.via, seen.sent) == (State.OPEN, Reason.SYN_ACK, "eth0 10.10.0.1", 3)
    assert report.problems == ()


def test_silence_is_asked_three_times_and_then_it_is_over() -> None:
    station = Station({1: [icmp(NEAR, 11)]})
    report, tail_s = trace(station)
    assert station.sent.count(1) == 1
    assert [station.sent.count(ttl) for ttl in range(2, MOST_TTL + 1)] == [3] * (MOST_TTL - 1)
    assert said(report)[1] == (2, "", Reason.NO_RESPONSE)
    assert report.duration_s == pytest.approx(3 * 1.1, abs=0.02)
    assert tail_s == pytest.approx(2.0 - 1.1, abs=0.02), "witnesses listen for two seconds after the last packet"


@pytest.mark.parametrize(("rtt_s", "asked"), [(1.0, 1), (1.2, 2)])
def test_an_answer_may_take_a_second_before_the_hop_is_asked_again(rtt_s: float, asked: int) -> None:
    station = Station({1: [icmp(NEAR, 11)], 0: [reply(SYN | 16)]}, rtt_s=rtt_s)
    report, _ = trace(station)
    assert [station.sent.count(ttl) for ttl in range(1, MOST_TTL + 1)] == [asked] * MOST_TTL
    assert said(report)[:2] == [(1, NEAR, Reason.TTL_EXCEEDED), (2, END, Reason.SYN_ACK)]


def test_a_silent_hop_before_the_end_is_asked_again() -> None:
    station = Station({1: [icmp(NEAR, 11)], 2: [], 0: [reply(RST | 16)]})
    report, _ = trace(station)
    assert station.sent == [1, 2, 3, 2, 2]
    assert said(report) == [(1, NEAR, Reason.TTL_EXCEEDED), (2, "", Reason.NO_RESPONSE), (3, END, Reason.RESET)]


def test_a_router_that_refuses_ends_the_way() -> None:
    station = Station({1: [icmp(NEAR, 11)], 0: [icmp(NEAR, 3, 13)]})
    report, _ = trace(station)
    assert station.sent == [1, 2]
    assert said(report)[-1] == (2, NEAR, Reason.ADMIN_PROHIBITED)


def test_strange_icmp_and_strange_answers_are_worthless() -> None:
    def elsewhere(packet: Packet) -> Packet | None:
        made = icmp("10.99.0.9", 3, 13)(packet)
        assert made is not None
        assert made.quote is not None
        made.quote.destination = "10.99.0.1"
        return made

    station = Station({0: [forged, elsewhere, reply(SYN | 16, off=1), icmp(NEAR, 12)]})
    report, _ = trace(station)
    assert {hop.reason for hop in report.trace} == {Reason.NO_RESPONSE}


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (datagram, State.OPEN, Reason.UDP_RESPONSE),
        (icmp(END, 3, 3), State.CLOSED, Reason.PORT_UNREACH),
        (icmp(FAR, 3, 3), State.FILTERED, Reason.PORT_UNREACH),
    ],
)
def test_udp(answer: Answer, state: State, reason: Reason) -> None:
    report, _ = trace(Station({1: [icmp(NEAR, 11)], 0: [answer]}), Protocol.UDP)
    assert (report.observations[0].state, report.observations[0].reason) == (state, reason)
    assert said(report)[-1][0] == 2


def test_icmp_is_told_by_its_identifier_and_token() -> None:
    def echo(packet: Packet) -> Packet:
        made = Packet(packet.at, True, True, "eth0", 4, END, OWN, 62, ICMP, payload=packet.payload, icmp_type=0)
        made.icmp_id = packet.icmp_id
        return made

    report, _ = trace(Station({1: [icmp(NEAR, 11)], 0: [echo]}), Protocol.ICMP)
    assert said(report) == [(1, NEAR, Reason.TTL_EXCEEDED), (2, END, Reason.ECHO_REPLY)]


@pytest.mark.parametrize(
    ("station", "address", "reason"),
    [
        (Station({}, raw=False), END, Reason.NO_PERMISSION),
        (Station({}), "db.prod.internal", Reason.RESOLVE_FAILED),
        (Station({}, way=NoRoute(Reason.NO_ROUTE)), END, Reason.NO_ROUTE),
    ],
)
def test_what_cannot_be_traced_is_an_error_and_sends_nothing(station: Station, address: str, reason: Reason) -> None:
    report, tail_s = trace(station, address=address)
    assert (report.observations[0].state, report.observations[0].reason) == (State.ERROR, reason)
    assert (report.trace, station.sent, tail_s) == ((), [], 0.0)


@pytest.mark.parametrize("ends", [(OWN, END), ("fd00:10::10", "fd00:30::10")])
def test_the_ttl_is_in_the_packet_and_its_checksum_right(ends: tuple[str, str]) -> None:
    from scapy.layers.inet import IP

    data = Template(*ends, Protocol.TCP, ttl=3).build(40000, 80, bytes(8))
    packet = parse(data, PACKET_HOST, "eth0", IPV6 if ":" in ends[0] else IPV4, 0.0)
    assert packet is not None
    assert (packet.ttl, packet.seq) == (3, tcp_fields(bytes(8))[0])
    if ":" not in ends[0]:
        again = IP(data)
        del again.chksum
        assert bytes(again) == data
