"""What the source sends in a challenge and in a round of groups, on virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import pytest

from probes.gate import Gate
from probes.host.routes import NoRoute
from probes.kernel.way import Way
from probes.packets.build import Template
from probes.packets.flow_budget import FlowBound
from probes.packets.parse import IPV4, PACKET_OUTGOING, Packet, parse
from probes.packets.port_arrays import WINDOWS, sources_for
from probes.packets.raw_socket import Bucket, Flows
from probes.packets.route import Route
from probes.source import followups
from probes.source.followups import GROUP_ON, GROUP_PAUSE_S, GROUP_SLOTS, LEAST_A_SLOT, SLOTS, FollowUps
from reachability.observation import ControlTarget, SourceReport, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, RoundKind, State
from tests.support.virtual import now, run
from wire.messages import Go

OWN, END, ELSEWHERE, NOWHERE = "10.10.0.10", "10.30.0.10", "10.0.0.1", "10.99.0.1"
ROUTE = Route("eth0", "10.10.0.1", OWN, b"\x02" * 6)
TARGET = Target(id=1, environment="prod", address=END, protocol=Protocol.TCP, ports=PortSet.parse("22,80"))
CONTROL = ControlTarget(address=ELSEWHERE, protocol=Protocol.TCP, port=8883)


class Station:
    """Notes when packets go to the target; what goes elsewhere is answered, or not."""

    raw, agent, gate = True, "dev-1", Gate(None)

    def __init__(
        self,
        costs_s: float,
        answers: Callable[[], bool],
        leaves: Callable[[Packet], bool] = lambda _: True,
        ways: int = 1,
    ) -> None:
        self.costs_s, self.answers, self.leaves, self.ways = costs_s, answers, leaves, ways
        self.flows, self.bucket, self.bound = Flows(), Bucket(100_000), FlowBound()
        self.sent: list[tuple[float, int]] = []

    async def way(self, destination: str, source: str) -> tuple[Route, ...] | NoRoute:
        if destination == NOWHERE:
            return NoRoute(Reason.NO_ROUTE)
        return (ROUTE,) * (self.ways if destination == END else 1)

    async def send(
        self, route: Route, destination: str, protocol: Protocol, local: int, port: int, token: bytes, *, fresh: bool
    ) -> None:
        await asyncio.sleep(self.costs_s)
        self.sent.append((now(), port))
        self.capture(Template(route.source, destination, protocol).build(local, port, token))

    def capture(self, data: bytes) -> None:
        packet = parse(data, PACKET_OUTGOING, "eth0", IPV4, asyncio.get_running_loop().time())
        if packet is not None and self.leaves(packet):
            self.flows.dispatch(packet)

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


class Kernel:
    """Stands for the kernel's sockets: notes what is begun, and has the capture see it."""

    station: ClassVar[Station]
    begun: ClassVar[list[tuple[float, int]]]
    under_way: ClassVar[int]

    def __init__(self, source: str, protocol: Protocol, gate: Gate) -> None:
        self.way = Way(source, 61999)
        self.protocol = protocol

    def begin(self, to: tuple[str, int], request: bytes) -> None:
        Kernel.begun.append((now(), to[1]))
        Kernel.under_way += 1
        self.station.capture(Template(OWN, to[0], self.protocol).build(self.way.port, to[1], bytes(8)))

    def give_up(self) -> None:
        Kernel.under_way = 0

    def close(self) -> None:
        self.give_up()


def challenge(
    *targets: Target,
    costs_s: float = 0.0,
    answers: Callable[[], bool] = lambda: True,
    leaves: Callable[[Packet], bool] = lambda _: True,
    ways: int = 1,
    rate_pps: int = 0,
) -> tuple[Station, SourceReport]:
    """`costs_s`: what a packet takes; `leaves`: which packets the capture sees."""

    async def scene() -> tuple[Station, SourceReport]:
        station = Kernel.station = Station(costs_s, answers, leaves, ways)
        Kernel.begun, Kernel.under_way = [], 0
        go = Go(
            round="R1",
            key=bytes(16),
            kind=RoundKind.CHALLENGE,
            targets=targets or (TARGET,),
            controls=(CONTROL,),
            rate_pps=rate_pps,
        )
        report, _ = await FollowUps(station, go).challenge()  # type: ignore[arg-type]
        return station, report

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(followups, "Attempts", Kernel)
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


def test_at_a_lower_rate_its_slots_are_longer() -> None:
    _, slow = challenge(rate_pps=4)
    assert slow.slot_ms == 1500.0, "four packets with a half more of room"


def test_it_says_what_its_own_capture_saw_leave() -> None:
    _, report = challenge()
    assert report.slots_sent == tuple(2 * on for on in report.slots)
    assert report.observations == ()
    _, report = challenge(ways=2)
    assert report.slots_sent == tuple(2 * on for on in report.slots), "each way there counts for itself"
    _, report = challenge(leaves=lambda packet: packet.destination != END)
    assert sum(report.slots_sent) == 0
    [lacking] = report.observations
    assert (str(lacking.ports), lacking.state, lacking.sent) == ("22,80", State.ERROR, 0)


def test_the_port_to_which_the_least_left_counts_for_all() -> None:
    fourth: list[float] = []

    def all_but_one(packet: Packet) -> bool:
        if packet.dport == 80 and len(fourth) < 4:
            fourth.append(packet.at)
        return packet.dport != 80 or packet.at != fourth[-1] or len(fourth) < 4

    _, report = challenge(leaves=all_but_one)
    assert sorted(report.slots_sent) == [0] * 10 + [1] + [2] * 9
    assert report.observations == ()


def test_where_there_is_no_way_to_one_host_the_others_are_challenged_all_the_same() -> None:
    nowhere = replace(TARGET, id=2, address=NOWHERE)
    _, report = challenge(TARGET, nowhere)
    assert report.slots_sent == tuple(2 * on for on in report.slots)
    assert [(o.target, str(o.ports)) for o in report.observations] == [(2, "22,80")]


def test_what_the_round_tries_through_the_kernel_is_challenged_so_too() -> None:
    """Behind NAT its packets cannot be told by their source port, and a firewall may let through what raw packets are not."""
    first = replace(TARGET, first=PortSet.parse("22"))
    _, report = challenge(first)
    began = Kernel.begun[0][0] - report.slots.index(1) * report.slot_ms / 1000
    slots = [round((at - began) / report.slot_ms * 1000) for at, _ in Kernel.begun]
    assert slots == [index for index, on in enumerate(report.slots) if on for _ in range(2)]
    assert {port for _, port in Kernel.begun} == {22}
    assert Kernel.under_way == 0
    assert report.slots_sent == tuple(2 * on for on in report.slots)
    _, report = challenge(first, leaves=lambda packet: packet.sport != 61999)
    assert [str(o.ports) for o in report.observations] == ["22"], "what the kernel did not send is not missed"
    assert report.slots_sent == tuple(2 * on for on in report.slots), "and port 80 is as it was"


def test_a_datagram_that_carries_a_token_goes_once() -> None:
    udp = replace(TARGET, protocol=Protocol.UDP, ports=PortSet.parse("161,9000"), first=PortSet.parse("161,9000"))
    _, report = challenge(udp)
    assert {port for _, port in Kernel.begun} == {161}, "the service's own request has no room for one"
    assert report.slots_sent == tuple(2 * on for on in report.slots)
    icmp = replace(TARGET, protocol=Protocol.ICMP, ports=PortSet(), first=PortSet())
    _, report = challenge(icmp)
    assert report.slots_sent == tuple(2 * on for on in report.slots)


class ByKernel(Station):
    """Without raw sockets, and with an address of this host."""

    raw = False

    async def way(self, destination: str, source: str) -> tuple[Route, ...]:
        return (replace(ROUTE, source="127.0.0.1"),)


def groups(kind: type[Station], *targets: Target) -> tuple[Station, SourceReport]:
    async def scene() -> tuple[Station, SourceReport]:
        station = kind(0.0, lambda: True)
        asked = (*((target.id, target.ports) for target in targets), (99, PortSet.of([7])))
        go = Go(round="R1", key=bytes(16), kind=RoundKind.NOPORTS, targets=targets, groups=asked)
        report, _ = await FollowUps(station, go).noports()  # type: ignore[arg-type]
        return station, report

    return run(scene())


def test_a_group_goes_in_keyed_slots_of_its_own_with_a_pause_after_each() -> None:
    station, _ = groups(Station, TARGET, replace(TARGET, id=2, ports=PortSet.parse("1000-1049")))
    began = station.sent[0][0]
    few, many = (
        Counter(round((at - began) / GROUP_PAUSE_S) for at, port in station.sent if (port < 1000) == is_first)
        for is_first in (True, False)
    )
    assert set(few.values()) == {LEAST_A_SLOT}, "so many that one datagram of another is not taken for them"
    assert set(many.values()) == {50}, "each port once"
    patterns = []
    for one in (few, many):
        assert len(one) == GROUP_ON
        assert max(one) - min(one) < GROUP_SLOTS
        patterns.append([slot - min(one) for slot in sorted(one)])
    assert patterns[0] != patterns[1]


def test_the_kernel_sends_groups_of_datagrams_alone() -> None:
    _, report = groups(ByKernel, TARGET)
    assert report.packets == 0


class Sockets:
    """Stands for the kernel's datagrams: from which source port which ports are sent to."""

    sent: ClassVar[set[tuple[Way, int]]]

    def __init__(self, gate: Gate) -> None:
        """It asks nobody."""

    def open(self, source: str, within: tuple[int, int]) -> Way:
        return Way(source, within[1])

    def send(self, way: Way, data: bytes, to: tuple[str, int]) -> int:
        Sockets.sent.add((way, to[1]))
        return 0

    def close(self) -> None:
        """Nothing is held."""


def test_the_kernels_datagrams_leave_from_where_the_ports_copies_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one side's datagram is, to a firewall, the answer to what the other side's sweep asks."""
    Sockets.sent = set()
    monkeypatch.setattr(followups, "Datagrams", Sockets)
    ports = [9000, *(low for low, _ in WINDOWS)]
    groups(ByKernel, replace(TARGET, protocol=Protocol.UDP, ports=PortSet.of(ports)))
    assert {port: way.port for way, port in Sockets.sent} == {port: sources_for(port)[1] for port in ports}
