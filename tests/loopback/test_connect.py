"""A sweep without raw sockets, on loopback: connections and datagrams as any program would make them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from probes.context import Station
from probes.gate import Gate
from probes.host.routes import Routes
from probes.kernel.dialler import Called, Dialler, Ended, is_free
from probes.kernel.patience import Patience
from probes.kernel.way import Way
from probes.packets.flow_budget import FlowBound
from probes.packets.raw_socket import Bucket, Flows
from probes.packets.token import connect_ports, token
from probes.source.job import Job
from probes.sweep.connect import ConnectSource
from reachability.observation import SourceReport, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, State

HERE = "127.0.0.1"
GATE = Gate(None)
THERE = f"127.1.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"  # of this process alone: another serves the same ports
PORTS = "20000-20999,61100-61110,62600"


@pytest.fixture
def served() -> Iterator[PortSet]:
    """TCP ports of `THERE` that are open."""
    ports = [20001, 20500, 61105, 62600]
    servers = [socket.create_server((THERE, port)) for port in ports]
    yield PortSet.of(ports)
    for server in servers:
        server.close()


@pytest.fixture
def echo() -> Iterator[tuple[int, list[bytes]]]:
    """A UDP port of `THERE` that answers, and what it was asked."""
    asked: list[bytes] = []
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((THERE, 20700))

    def serve() -> None:
        while True:
            data, sender = server.recvfrom(100)
            if not data:
                return
            asked.append(data)
            server.sendto(b"!", sender)

    thread = threading.Thread(target=serve)
    thread.start()
    yield 20700, asked
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"", (THERE, 20700))
    thread.join()
    server.close()


def job(protocol: Protocol, key: bytes = b"", ports: str = PORTS) -> Job:
    target = Target(id=1, environment="prod", address=THERE, protocol=protocol, ports=PortSet.parse(ports), source=HERE)
    return Job(round="r", key=key or secrets.token_bytes(16), targets=(target,), copies=2, most_copies=6, own_host=True)


def swept(job: Job) -> SourceReport:
    async def run() -> SourceReport:
        station = Station(Bucket(1_000_000), Flows(), Routes(), "dev-1", gate=GATE)
        return (await ConnectSource(station, job).run())[0]

    return asyncio.run(run())


def ports(report: SourceReport, state: State) -> PortSet:
    return PortSet.union(o.ports for o in report.observations if o.state is state)


def sockets() -> set[str]:
    """Of this process; one that an earlier test has dropped goes at any time."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(str(descriptor.readlink()))
    return {name for name in found if name.startswith("socket:")}


def test_open_and_closed_ports(served: PortSet) -> None:
    before = sockets()
    report = swept(job(Protocol.TCP))
    assert ports(report, State.OPEN) == served
    assert ports(report, State.CLOSED) == PortSet.parse(PORTS) - served
    assert {(o.way, o.reason, o.sent, o.hops) for o in report.observations} == {
        ("connect", Reason.SYN_ACK, 0, None),
        ("connect", Reason.CONN_REFUSED, 0, None),
    }
    assert not report.raw
    assert not report.problems
    assert sockets() <= before


def test_it_says_from_which_source_ports(served: PortSet) -> None:
    tried = job(Protocol.TCP)
    flows = swept(tried).kernel_flows
    assert PortSet.union(flow.ports for flow in flows) == PortSet.parse(PORTS)
    windows = {(61000, 62499): (20000, 20999), (62500, 63999): (61100, 61110), (64000, 65499): (62600, 62600)}
    for flow in flows:
        [window] = [w for w in windows if w[0] <= flow.source_port <= w[1]]
        assert flow.source_port in connect_ports(tried.key, 0, window)
        assert flow.ports == PortSet.from_ranges([windows[window]])
        assert (flow.address, flow.source_address, flow.port) == (THERE, HERE, 0)


def test_a_source_port_that_a_program_holds_is_left_alone() -> None:
    tried = job(Protocol.TCP, ports="20000-20300")
    first, second, *_ = connect_ports(tried.key, 0, (61000, 62499))
    with socket.create_server((HERE, first)):
        assert not is_free(Way(HERE, first))
        [flow] = swept(tried).kernel_flows
    assert flow.source_port == second


def test_a_probe_of_another_agents_is_no_answer() -> None:
    """It comes from a port that is asked too, to a source port that asks others: the pair of ports is nobody's question."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        server.bind((THERE, 20700))
        other.bind((THERE, 62600))

        def probe() -> None:
            _, sender = server.recvfrom(100)
            other.sendto(b"a token of its own", sender)

        thread = threading.Thread(target=probe)
        thread.start()
        report = swept(job(Protocol.UDP, ports="20700,62600"))
        thread.join()
    assert ports(report, State.OPEN_FILTERED) == PortSet.of([20700, 62600])


def test_datagrams_carry_their_token(echo: tuple[int, list[bytes]]) -> None:
    port, asked = echo
    tried = job(Protocol.UDP)
    report = swept(tried)
    assert ports(report, State.OPEN) == PortSet.of([port])
    assert asked == [token(tried.key, THERE, Protocol.UDP, port, 0)]
    closed = [o for o in report.observations if o.state is State.CLOSED]
    assert {(o.reason, o.way) for o in closed} == {(Reason.PORT_UNREACH, "connect")}
    silent = ports(report, State.OPEN_FILTERED)  # a host sends few port-unreachable in a second
    assert (PortSet.of([port]) | ports(report, State.CLOSED) | silent) == PortSet.parse(PORTS)


def test_an_answer_that_came_in_the_last_pause_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary, asked = ConnectSource._listen, list[bytes]()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((THERE, 0))
        port = server.getsockname()[1]

        async def listen(source: ConnectSource, seconds: float) -> None:
            assert seconds > 0
            if not asked:
                data, sender = server.recvfrom(100)
                asked.append(data)
                server.sendto(b"!", sender)
            await ordinary(source, 0.0)  # its time is over when it runs again

        monkeypatch.setattr(ConnectSource, "_listen", listen)
        once = replace(job(Protocol.UDP, ports=str(port)), copies=1, most_copies=1)
        assert ports(swept(once), State.OPEN) == PortSet.of([port])


def test_the_bound_on_flows_counts() -> None:
    async def run() -> int:
        bound = FlowBound()
        station = Station(Bucket(1_000_000), Flows(), Routes(), "dev-1", bound, gate=GATE)
        await ConnectSource(station, job(Protocol.TCP)).run()
        return sum(count for _, count in bound.held())

    assert asyncio.run(run()) == len(PortSet.parse(PORTS))


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (errno.EPERM, State.ERROR, Reason.LOCAL_FILTER),
        (errno.ENETUNREACH, State.ERROR, Reason.NO_ROUTE),
        (errno.EHOSTUNREACH, State.FILTERED, Reason.HOST_UNREACH),
        (errno.EADDRNOTAVAIL, State.FILTERED, Reason.NO_RESPONSE),
    ],
)
def test_what_no_packet_tells_of(error: int, state: State, reason: Reason, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(_: Dialler, way: Way, to: tuple[str, int], what: Called) -> Ended:
        return Ended(what, error, None, 0.0)

    monkeypatch.setattr(Dialler, "begin", begin)
    report = swept(job(Protocol.TCP))
    assert {(o.state, o.reason) for o in report.observations} == {(state, reason)}


def test_silence_is_given_up() -> None:
    # A listener whose queue is full drops SYNs: the kernel's own silence, without a firewall.
    with socket.create_server((THERE, 0), backlog=0) as server:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        dialler = Dialler(GATE)
        assert dialler.begin(Way(HERE, 0), server.getsockname(), Called(0, 5)) is None
        assert not dialler.expired([60.0])
        ended = dialler.ended()
        gone = dialler.expired([0.0])
        assert [(e.what, e.error) for e in (*ended, *gone)] == [((0, 5), errno.ETIMEDOUT)]
        assert len(dialler) == 0
        dialler.close()
        for filler in fillers:
            filler.close()


def test_an_answer_that_lay_there_while_this_process_did_not_run_is_no_silence() -> None:
    with socket.create_server((THERE, 0)) as server:
        taken = server.getsockname()
        dialler = Dialler(GATE)
        assert dialler.begin(Way(HERE, 0), taken, Called(0, 5)) is None
        server.accept()[0].close()
        assert [(e.what, e.error) for e in dialler.expired([0.0])] == [((0, 5), 0)]
        assert dialler.ended() == []
        dialler.close()


def test_patience() -> None:
    patience = Patience()
    assert (patience.limit(0), patience.limit(1), patience.limit(9)) == (0.5, 1.0, 3.0)
    for _ in range(50):
        patience.took(0.001)
    assert patience.limit(0) == 0.1
    patience.took(0.4)
    assert patience.limit(0) > 0.4
