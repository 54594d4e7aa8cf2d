"""Real rows and reports, to begin with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reachability.arrival import ArrivalRow, Crowded, NoPortsGroup, Untokened, WitnessHealth, WitnessReport
from reachability.observation import (
    CanaryResult,
    ControlResult,
    Hop,
    KeptPacket,
    KernelFlow,
    Observation,
    SourceReport,
    Target,
)
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.vocabulary import PacketRole, Protocol, Reason, RoundKind, Schedule, State

TCP, UDP, ICMP = Protocol.TCP, Protocol.UDP, Protocol.ICMP
HERE, THERE, SIX = "10.10.0.10", "10.30.0.21", "fd00:30::21"
KEY = b"k" * 16
SYN = bytes.fromhex(
    "4500003c1c4640004006b1e60a0a000a0a1e0015d431001600000001000000007002faf0fe300000020405b40402080a0000000100000000"
)
NAMES = {RoundKind.NORMAL: "r", RoundKind.CHALLENGE: "c", RoundKind.NOPORTS: "n"}


def target(number: int, address: str, protocol: Protocol, ports: str) -> Target:
    return Target(
        id=number,
        environment="prod",
        address=address,
        protocol=protocol,
        ports=PortSet.parse(ports),
        first=PortSet.parse("22"),
        source=HERE if "." in address else "",
        witness="prod-1",
        inside="prod-2",
        canary=50_000,
    )


TARGETS = (
    replace(target(5, "10.30.0.30", TCP, "22"), witness=""),
    target(1, THERE, TCP, "1-100,5000"),
    target(2, THERE, UDP, "1-200"),
    target(3, THERE, ICMP, ""),
    target(4, SIX, TCP, "22"),
)


def spec(kind: RoundKind) -> RoundSpec:
    return RoundSpec(
        round=NAMES[kind],
        kind=kind,
        schedule=Schedule.CYCLE,
        source="dev-1",
        source_environment="dev",
        destination="prod",
        targets=TARGETS,
    )


def _seen(
    number: int, address: str, protocol: Protocol, state: State, reason: Reason, ports: str, **more: Any
) -> Observation:
    return Observation(
        target=number,
        source_address=HERE,
        address=address,
        protocol=protocol,
        state=state,
        reason=reason,
        ports=PortSet.parse(ports),
        kind=protocol.value,
        way="raw",
        via="eth0 10.10.0.1",
        sent=4,
        covered=4,
        flows=4,
        **more,
    )


OBSERVATIONS = (
    _seen(
        1,
        THERE,
        TCP,
        State.OPEN,
        Reason.SYN_ACK,
        "22,80",
        hops=1,
        rtt_ms=0.5,
        said="ab" * 8,
        note="SSH-2.0 (40 bytes)",
        kernel="open",
    ),
    _seen(1, THERE, TCP, State.CLOSED, Reason.RESET, "1-21", hops=2),
    _seen(1, THERE, TCP, State.FILTERED, Reason.NO_RESPONSE, "23-79,81-100,5000"),
    _seen(2, THERE, UDP, State.OPEN_FILTERED, Reason.NO_RESPONSE, "1-200"),
    _seen(3, THERE, ICMP, State.FILTERED, Reason.ADMIN_PROHIBITED, "", refused_by="10.10.0.1", refused=2),
    _seen(4, SIX, TCP, State.ERROR, Reason.NO_ROUTE, "22", name="db.prod.internal"),
)
CONTROLS = (
    ControlResult(
        address="10.99.0.1",
        protocol=TCP,
        kind="coordinator",
        port=8883,
        source_address=HERE,
        via="eth0 10.10.0.1",
        sent=40,
        answered=39,
        ended_good=True,
        rtt_ms=0.4,
    ),
    ControlResult(
        address=THERE,
        protocol=UDP,
        kind="pair",
        port=53,
        source_address=HERE,
        via="eth0 10.10.0.1",
        sent=20,
        answered=20,
    ),
    ControlResult(
        address="10.99.0.1",
        protocol=ICMP,
        kind="declared",
        source_address=HERE,
        via="eth0 10.10.0.1",
        sent=20,
        answered=20,
        ended_good=True,
    ),
)
ARRIVALS = (
    ArrivalRow(
        target=1,
        address=THERE,
        protocol=TCP,
        copies=4,
        ports=PortSet.parse("22,80"),
        last_copy=3,
        first_copy=0,
        answered=True,
        came_from=HERE,
        hops=1,
        dscp=8,
        mss=1460,
    ),
    ArrivalRow(
        target=2,
        address=THERE,
        protocol=UDP,
        copies=2,
        ports=PortSet.parse("53"),
        last_copy=2,
        came_from=HERE,
        hops=1,
        altered="sequence",
    ),
    ArrivalRow(target=3, address=THERE, protocol=ICMP, copies=1, came_from=HERE),
)
TIMES = tuple(range(0, 3000, 300))
UNTOKENED = (
    Untokened(
        address=THERE,
        protocol=TCP,
        port=5000,
        came_from=HERE,
        source_port=40_000,
        count=10,
        answered=True,
        times_ms=TIMES,
        largest=10,
    ),
    Untokened(
        address=THERE,
        protocol=TCP,
        port=90,
        came_from="10.20.0.9",
        source_port=1234,
        count=2,
        times_ms=(5,),
        flows=2,
        largest=1,
    ),
    Untokened(
        address=THERE, protocol=UDP, port=0, came_from=HERE, source_port=40_001, count=1, ports=PortSet.parse("10-20")
    ),
    Untokened(address=THERE, protocol=ICMP, port=0, came_from=HERE, source_port=7, count=1),
)
HEALTH = WitnessHealth(
    address=THERE,
    healthy=True,
    off_host=3,
    bound_tcp=PortSet.parse("22"),
    bound_udp=PortSet.parse("53"),
    noports=4,
    udp_unbound=4,
)
KEPT = tuple(
    KeptPacket(target=1, what=what, at_ms=at, data=SYN, port=22, copy=copy, interface="eth0")
    for what, at, copy in (
        (PacketRole.SENT, 1.0, 0),
        (PacketRole.SENT, 2.0, None),
        (PacketRole.CAME_BACK, 2.5, 0),
        (PacketRole.CAME_BACK, 2.6, None),
    )
) + tuple(KeptPacket(target=1, what=PacketRole.SENT, at_ms=3.0, data=SYN, port=port, copy=1) for port in (80, 81))
KEPT_THERE = tuple(
    KeptPacket(target=1, what=what, at_ms=at, data=SYN, port=port, copy=copy, interface="eth1")
    for what, at, port, copy in (
        (PacketRole.ARRIVED, 9.0, 22, 0),
        (PacketRole.ANSWERED, 9.1, 22, None),
        (PacketRole.STRANGE, 9.5, 80, None),
        (PacketRole.INSTEAD, 1.0, 0, None),
    )
)
HOPS = (
    Hop(ttl=1, state=State.FILTERED, reason=Reason.TTL_EXCEEDED, address="10.10.0.1", sent=3, answers=3, rtt_ms=0.2),
    Hop(ttl=2, state=State.FILTERED, reason=Reason.NO_RESPONSE, sent=3),
    Hop(ttl=3, state=State.OPEN, reason=Reason.SYN_ACK, address=THERE, sent=3, answers=1),
)


def source(kind: RoundKind, **more: Any) -> SourceReport:
    slots = (1, 0) * 10 if kind is RoundKind.CHALLENGE else ()
    whole = SourceReport(
        round=NAMES[kind], agent="dev-1", observations=OBSERVATIONS, controls=CONTROLS, slots=slots, slot_ms=150.0 if slots else 0.0, packets=99, captured=80, duration_s=4.0, host_hops={THERE: 1},
        canaries=(CanaryResult(target=1, address=THERE, port=50_000, before=State.CLOSED, after=State.OPEN),), kept=KEPT, trace=HOPS,
        kernel_flows=(KernelFlow(address=THERE, protocol=TCP, port=5000, source_address=HERE, source_port=40_000), KernelFlow(address=THERE, protocol=UDP, port=0, source_address=HERE, source_port=40_001, ports=PortSet.parse("1-30"))),
    )  # fmt: skip
    return replace(whole, **more)


def witness(kind: RoundKind, **more: Any) -> WitnessReport:
    whole = WitnessReport(
        round=NAMES[kind], agent="prod-1", arrivals=ARRIVALS, untokened=UNTOKENED, health=(HEALTH, WitnessHealth(address=SIX, healthy=False, why="no capture")), kept=KEPT_THERE, listened_s=9.0, armed_ms=40.0,
        crowded=(Crowded(address=THERE, protocol=TCP, ports=PortSet.parse("70-75")), Crowded(address=THERE, protocol=ICMP)), groups=(NoPortsGroup(target=2, ports=PortSet.parse("60-70"), arrived=3, moved=0), NoPortsGroup(target=2, ports=PortSet.parse("71-80"), arrived=3, moved=3)),
    )  # fmt: skip
    return replace(whole, **more)


NORMAL, CHALLENGE, NOPORTS = RoundKind.NORMAL, RoundKind.CHALLENGE, RoundKind.NOPORTS
