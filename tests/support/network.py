"""A source on virtual time and a network that is a function: a packet to the delay of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from probes.context import Station
from probes.gate import Gate
from probes.host.routes import NoRoute
from probes.packets.flow_budget import FlowBound
from probes.packets.parse import ACK, ICMP, IPV4, PACKET_OUTGOING, RST, SYN, TCP, Packet, parse
from probes.packets.raw_socket import Bucket, Flows
from probes.packets.route import Route
from probes.packets.rx_ring import Counts
from probes.source.cycle import Source
from probes.source.job import Job
from reachability.observation import SourceReport, Target
from reachability.ports import PortSet, text_of
from reachability.vocabulary import Protocol, State
from tests.support.virtual import now, run

KEY = bytes(range(16))
OWN, END = "10.10.0.10", "10.30.0.10"
ROUTE = Route("eth0", "10.10.0.1", OWN, b"\x02" * 6)
OPEN_PORT = 80  # the others are silent, unless a test says otherwise


class Net:
    """Wire, capture, routes and rings of a station at once. `delay_s` says when a packet is answered, None for never."""

    is_half_full = False

    def __init__(
        self,
        delay_s: Callable[[Packet], float | None],
        resets: Callable[[Packet], bool] = lambda _: False,
        ways: Callable[[str, str], tuple[Route, ...] | NoRoute] = lambda *_: (ROUTE,),
        by_way: Callable[[Route, str], float | None] | None = None,
        hops: Callable[[Packet], int] = lambda _: 2,
        routers: Callable[[Packet], str] = lambda _: "",
    ) -> None:
        """`resets`: what is answered by RST; `ways` to a destination from a source; `by_way`: as `delay_s`, of a route and a destination.

        `hops`: how many routers the answer to a packet crosses; `routers`: who says that its TTL ended there, "" for nobody.
        """
        self.routers = routers
        self.hops = hops
        self.delay_s, self.resets, self.ways, self.by_way = delay_s, resets, ways, by_way
        self.sent: list[tuple[float, Packet]] = []  # seconds since the scene began
        self.by: list[Route] = []  # of each of them
        self.readers: list[object] = []
        self.station: Station

    def counts(self) -> Counts:
        return Counts(0, 0)

    def read(self) -> None:
        """All is handed out when it comes."""

    async def lookup(self, destination: str, source: str) -> tuple[Route, ...] | NoRoute:
        return self.ways(destination, source)

    async def send(self, route: Route, destination: str, data: bytes, *, to_gateway: bool = False) -> None:
        del to_gateway
        await self.station.bucket.take()
        self._carry(route, data)

    def way(self, route: Route) -> str:
        return "ring"

    def put(self, route: Route, ethertype: int, frames: Any, lengths: Any) -> int:
        for frame, length in zip(np.asarray(frames), lengths, strict=True):
            self._carry(route, frame[:length].tobytes())
        return len(frames)

    def _carry(self, route: Route, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        packet = parse(data, PACKET_OUTGOING, "eth0", IPV4, loop.time())
        assert packet is not None
        self.sent.append((now(), packet))
        self.by.append(route)
        self.station.flows.dispatch(packet)
        if router := self.routers(packet):
            error = Packet(
                loop.time(), True, True, "eth0", 4, router, packet.source, 63, ICMP, icmp_type=11, icmp_code=0
            )
            error.quote = packet
            loop.call_later(0.001, self.station.flows.dispatch, error)
            return
        delay_s = self.delay_s(packet) if self.by_way is None else self.by_way(route, packet.destination)
        if delay_s is not None:
            loop.call_later(delay_s, self._answer, packet)

    def _answer(self, packet: Packet) -> None:
        at = asyncio.get_running_loop().time()
        back = Packet(
            at,
            True,
            True,
            "eth0",
            4,
            packet.destination,
            packet.source,
            64 - self.hops(packet),
            packet.protocol,
            packet.dport,
            packet.sport,
        )
        if packet.protocol == TCP:
            back.flags = RST | ACK if self.resets(packet) else SYN | ACK
            back.seq, back.ack = 7, (packet.seq + 1) & 0xFFFFFFFF
        elif packet.protocol == ICMP:
            back.icmp_type, back.icmp_id, back.payload = 0, packet.icmp_id, packet.payload
        self.station.flows.dispatch(back)


class Ports:
    """The parts of a station that whoever reserves source ports asks for."""

    def __init__(self) -> None:
        self.flows, self.bound = Flows(), FlowBound(1000)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a source did; times are seconds since it began."""

    report: SourceReport
    sent: list[tuple[float, Packet]]
    by: list[Route]
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
    resets: Callable[[Packet], bool] = lambda _: False,
    ways: Callable[[str, str], tuple[Route, ...] | NoRoute] = lambda *_: (ROUTE,),
    by_way: Callable[[Route, str], float | None] | None = None,
    hops: Callable[[Packet], int] = lambda _: 2,
    routers: Callable[[Packet], str] = lambda _: "",
    **more: Any,
) -> Ran:
    """A source's job from its beginning to its end."""

    async def scene() -> Ran:
        net: Any = Net(delay_s, resets, ways, by_way, hops, routers)
        station = Station(
            Bucket(agent_pps), Flows(), net, "dev-1", FlowBound(flows), net, net, _spare=[net, net], gate=Gate(None)
        )
        net.station = station
        asked: dict[str, Any] = {
            "round": "r",
            "key": KEY,
            "rate_pps": round_pps,
            "targets": (target(f"22,{OPEN_PORT}"),),
        }
        job = Job(**(asked | more))
        report, tail_s = await kind(station, job).run()
        return Ran(report, net.sent, net.by, now(), now() + tail_s)

    return run(scene())


def target(ports: str, number: int = 1, address: str = END, protocol: Protocol = Protocol.TCP) -> Target:
    return Target(
        id=number, environment="prod", address=address, protocol=protocol, ports=PortSet.parse(ports), source=OWN
    )


def about(seconds: float) -> object:
    return pytest.approx(seconds, rel=0, abs=0.01)
