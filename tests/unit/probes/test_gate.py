"""What leaves this process: nothing past the host's own bounds, by whichever socket, whatever was ordered."""

from __future__ import annotations

import ast
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import probes
from probes.context import Station
from probes.gate import Gate, NotAllowed
from probes.host.routes import NoRoute
from probes.kernel.attempts import Attempts
from probes.kernel.datagrams import Datagrams
from probes.kernel.dialler import Called, Dialler
from probes.kernel.way import Way
from probes.packets.build import Template
from probes.packets.parse import IPV4
from probes.packets.raw_socket import Bucket, Flows, Wire
from probes.packets.route import Route
from probes.packets.tx_ring import Transmitters, way_of
from reachability.allow import AllowList
from reachability.topology import Blackout
from reachability.vocabulary import Protocol, Reason
from tests.support.virtual import run

OWN, ALLOWED, ELSEWHERE, DENIED = "10.10.0.10", "10.30.0.21", "10.99.0.1", "10.30.0.66"
BROKER, GATEWAY = "203.0.113.5", "10.10.0.1"
ROUTE = Route("eth0", GATEWAY, OWN, b"\x02" * 6)
OWN6, ALLOWED6, ELSEWHERE6 = "fd00:10::10", "fd00:30::21", "fd00:99::1"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def gate(deny: tuple[str, ...] = (DENIED,)) -> Gate:
    return Gate(AllowList.of(["10.30.0.0/24", "fd00:30::/64"], deny), (BROKER, 8883))


def packet(destination: str, port: int = 22, protocol: Protocol = Protocol.TCP) -> bytes:
    source = OWN6 if ":" in destination else OWN
    return Template(source, destination, protocol).build(40_000, port, bytes(8))


def refusal(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except NotAllowed as error:
        return str(error)
    return ""


@pytest.mark.parametrize("address", [ALLOWED, ALLOWED6])
def test_what_is_allowed_goes(address: str) -> None:
    assert refusal(lambda: gate().check(address, 22)) == ""
    assert refusal(lambda: gate().check_packet(packet(address))) == ""


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (ELSEWHERE, "is in no network that this agent's configuration allows"),
        (ELSEWHERE6, "is in no network that this agent's configuration allows"),
        (DENIED, f"is in {DENIED}/32, which this agent's configuration denies"),
        ("224.0.0.1", "is not one host's address"),
        ("255.255.255.255", "is not one host's address"),
    ],
)
def test_what_is_not_is_refused_in_the_daemons_words(address: str, why: str) -> None:
    for _ in range(2):  # and remembered
        held = gate()
        assert refusal(lambda: held.check(address, 22)) == f"{address} {why}"  # noqa: B023 - called here
        assert refusal(lambda: held.check_packet(packet(address))) == f"{address} {why}"  # noqa: B023
        assert held.refuses_host(address) == f"{address} {why}"


@pytest.mark.parametrize("mapped", ["::ffff:10.30.0.21", "::ffff:10.99.0.1"])
def test_an_ipv4_address_in_ipv6_is_none(mapped: str) -> None:
    assert "IPv4-mapped" in refusal(lambda: gate().check(mapped, 22))
    assert "IPv4-mapped" in refusal(lambda: gate().check_packet(packet(mapped)))


def test_of_a_batch_with_one_that_may_not_go_none_goes() -> None:
    rows = np.frombuffer(packet(ALLOWED) * 40, np.uint8).reshape(40, -1).copy()
    gate().check_packets(rows)
    rows[37] = np.frombuffer(packet(ELSEWHERE), np.uint8)
    assert ELSEWHERE in refusal(lambda: gate().check_packets(rows))
    six = np.frombuffer(packet(ALLOWED6) * 4 + packet(ELSEWHERE6), np.uint8).reshape(5, -1)
    assert ELSEWHERE6 in refusal(lambda: gate().check_packets(six))
    rows[37] = np.frombuffer(packet(ALLOWED), np.uint8)
    rows[37, 0] = 0x65  # says that it is IPv6
    assert refusal(lambda: gate().check_packets(rows))


def test_the_broker_is_a_control_at_its_own_port_alone() -> None:
    held = gate()
    assert held.refuses_host(BROKER) == ""
    for protocol in Protocol.TCP, Protocol.UDP:
        assert refusal(lambda: held.check_packet(packet(BROKER, 8883, protocol))) == ""  # noqa: B023 - called here
        assert BROKER in refusal(lambda: held.check_packet(packet(BROKER, 22, protocol)))  # noqa: B023
    assert BROKER in refusal(lambda: held.check_packet(packet(BROKER, 0, Protocol.ICMP)))
    assert refusal(lambda: held.check(BROKER, 8883)) == ""
    assert BROKER in refusal(lambda: held.check(BROKER, 22))
    denied = gate(deny=("203.0.113.0/24",))
    assert "denies" in refusal(lambda: denied.check(BROKER, 8883))
    assert "denies" in refusal(lambda: denied.check_packet(packet(BROKER, 8883)))


def test_a_gateway_is_asked_for_an_echo_and_for_nothing_else() -> None:
    assert refusal(lambda: gate().check_echo(packet(GATEWAY, 0, Protocol.ICMP))) == ""
    assert refusal(lambda: gate().check_echo(packet("fd00:10::1", 0, Protocol.ICMP))) == ""
    assert "echo alone" in refusal(lambda: gate().check_echo(packet(GATEWAY, 22)))
    assert "denies" in refusal(lambda: gate((GATEWAY,)).check_echo(packet(GATEWAY, 0, Protocol.ICMP)))
    assert GATEWAY in refusal(lambda: gate().check_packet(packet(GATEWAY, 0, Protocol.ICMP)))


def test_a_blackout_begins_for_packets_too_and_ends() -> None:
    wall, clock = [NOON.replace(minute=59)], [100.0]
    window = Blackout("0 13 * * *", 600.0, "UTC")
    held = Gate(AllowList.of(["10.30.0.0/24"], (), (window,)), (BROKER, 8883), lambda: wall[0], lambda: clock[0])
    held.check(ALLOWED, 22)
    held.check_packet(packet(ALLOWED))
    wall[0], clock[0] = NOON.replace(hour=13), 101.0
    for attempt in (
        lambda: held.check(ALLOWED, 22),
        lambda: held.check_packet(packet(ALLOWED)),
        lambda: held.check(BROKER, 8883),
    ):
        assert refusal(attempt) == "this agent's configuration has a blackout now: '0 13 * * *' UTC"
    assert refusal(lambda: held.check_echo(packet(GATEWAY, 0, Protocol.ICMP))) == "", "a witness goes on"
    wall[0], clock[0] = NOON.replace(hour=14), 102.0
    held.check(ALLOWED, 22)


def test_others_that_come_into_force_count_from_then_on() -> None:
    held = gate()
    held.check_packet(packet(ALLOWED))
    held.take(AllowList.of([ELSEWHERE]), ("", 0))
    assert ALLOWED in refusal(lambda: held.check_packet(packet(ALLOWED)))
    held.check_packet(packet(ELSEWHERE))
    assert BROKER in refusal(lambda: held.check(BROKER, 8883))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes.gate, "MOST_KEPT", 4)
    held = gate()
    for last in range(20):
        held.check(f"10.30.0.{last}", 1)
    assert len(held._known) <= 4


class Deaf:
    """Stands for a socket, or a ring: notes what it is given."""

    def __init__(self) -> None:
        self.given: list[object] = []

    def sendto(self, *given: object) -> None:
        self.given.append(given)

    def put(self, frames: np.ndarray[Any, Any], lengths: object) -> int:
        self.given.append(frames)
        return len(frames)


def test_no_frame_leaves_for_anywhere_else_whatever_it_was_said_to_be_for() -> None:
    deaf = Deaf()

    async def send(destination: str, *, local: bool = False) -> None:
        wire: Any = Wire.__new__(Wire)
        wire.bucket, wire.sent, wire._gate = Bucket(1000), 0, gate()
        wire._packet, wire._own = deaf, {4: deaf, 6: deaf}
        route = Route("lo", "", OWN, b"", local=True) if local else ROUTE
        await wire.send(route, ALLOWED, packet(destination))  # the request names an address that is allowed

    for local in False, True:
        with pytest.raises(NotAllowed, match=ELSEWHERE):
            run(send(ELSEWHERE, local=local))
    assert deaf.given == []
    run(send(ALLOWED))
    assert len(deaf.given) == 1


def test_no_batch_leaves_for_anywhere_else() -> None:
    ring: Any = Deaf()
    transmitters = Transmitters(gate())
    transmitters._open[way_of(ROUTE, IPV4)] = ring
    for destination in ELSEWHERE, ALLOWED:
        rows = np.frombuffer(packet(destination) * 3, np.uint8).reshape(3, -1)
        refused = refusal(lambda: transmitters.put(ROUTE, IPV4, rows, np.full(3, rows.shape[1], np.uint16)))  # noqa: B023
        assert bool(refused) == (destination == ELSEWHERE)
    assert len(ring.given) == 1


def test_no_connection_and_no_datagram_of_the_kernels_leaves_for_anywhere_else() -> None:
    """By addresses of this host that are not allowed: what went there would be seen as an answer, never as a refusal."""
    datagrams = Datagrams(gate())
    way = datagrams.open("127.0.0.1", (32768, 60999))
    dialler = Dialler(gate())
    attempts = [Attempts("127.0.0.1", protocol, gate()) for protocol in (Protocol.TCP, Protocol.UDP)]
    to = ("127.0.0.1", 9)
    for attempt in (
        lambda: datagrams.send(way, b"x", to),
        lambda: dialler.begin(Way("127.0.0.1", 0), to, Called(0, 0)),
        *(lambda each=each: each.begin(to, b"x") for each in attempts),
    ):
        assert refusal(attempt) == "127.0.0.1 is in no network that this agent's configuration allows"
    datagrams.close()
    dialler.close()
    for each in attempts:
        each.close()


def test_nobody_on_the_link_is_asked_for_an_address_that_may_not_be_sent_to() -> None:
    class Routes:
        async def lookup(self, destination: str, source: str) -> tuple[Route, ...]:
            assert destination == ALLOWED, "it would be asked for by ARP"
            return (ROUTE,)

    async def way(destination: str) -> object:
        routes: Any = Routes()
        return await Station(Bucket(1000), Flows(), routes, gate=gate()).way(destination, "")

    assert run(way(ELSEWHERE)) == NoRoute(Reason.NOT_ALLOWED)
    assert run(way(ALLOWED)) == (ROUTE,)


SENDS = {"sendto", "sendmsg", "connect", "connect_ex", "sock_connect", "sock_sendto"}
CHECKS = {"check", "check_packet", "check_packets", "check_echo"}
# What sends without asking, and why it may.
ELSEWHERE_DECIDED = {
    ("host/routes.py", "_ask"): "ARP and ND for a next hop: `Station.way` has asked for the destination",
    ("packets/tx_ring.py", "put"): "`Transmitters.put` has asked",
    ("witness/liveness.py", "_call"): "the broker itself, out of the configuration: the agent is connected there",
    ("kernel/dialler.py", "ended"): "asks what became of a connection that was begun",
    ("kernel/dialler.py", "expired"): "likewise",
    ("source/cycle.py", "run"): "canaries without raw sockets, by `KernelWay`, which asks",
}
NOT_IN_THE_CHILD = {"kinds", "protocols"}  # of `segwatch probe`, whose user says where to


def test_whatever_sends_asks_first() -> None:
    root = Path(probes.__file__).parent
    unasked = set()
    for file in root.rglob("*.py"):
        where = file.relative_to(root)
        if where.parts[0] in NOT_IN_THE_CHILD:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                calls = {
                    each.func.attr
                    for each in ast.walk(node)
                    if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute)
                }
                if calls & SENDS and not calls & CHECKS:
                    unasked.add((str(where), node.name))
    assert unasked == set(ELSEWHERE_DECIDED)
