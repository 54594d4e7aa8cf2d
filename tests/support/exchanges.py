"""The packets of a round as both sides keep them, and the store that holds them."""

from __future__ import annotations

from dataclasses import replace

from coordinator.packets.exchanges import Exchanges
from coordinator.store import Report, Store
from probes.packets.build import Template
from probes.packets.token import token
from reachability.arrival import WitnessHealth, WitnessReport
from reachability.compare import Cell
from reachability.matrix import CellKey
from reachability.observation import KeptPacket, SourceReport, Target
from reachability.ports import ICMP_CELL, PortSet
from reachability.round_data import RoundSpec
from reachability.verdict import Evidence
from reachability.vocabulary import Declared, PacketRole, Protocol, Result, Role, RoundKind, Schedule
from tests.support.sample import judged

HERE, THERE, KEY = "10.10.0.10", "10.30.0.10", bytes(16)
CELL = CellKey(agent="dev-1", source_address=HERE, destination="prod", address=THERE, protocol=Protocol.TCP)
SPEC = RoundSpec(
    round="R1",
    kind=RoundKind.NORMAL,
    schedule=Schedule.SWEEP,
    source="dev-1",
    source_environment="dev",
    destination="prod",
    targets=(
        Target(
            id=1,
            environment="prod",
            address=THERE,
            protocol=Protocol.TCP,
            ports=PortSet.parse("1-100"),
            source=HERE,
            witness="prod-1",
        ),
        Target(id=2, environment="prod", address=THERE, protocol=Protocol.ICMP, source=HERE, witness="prod-1"),
        Target(
            id=3,
            environment="prod",
            address=THERE,
            protocol=Protocol.TCP,
            ports=PortSet.parse("1-100"),
            source="10.10.0.11",
        ),
    ),
)
BEGAN = 1_000_000.0
OUT, BACK = Template(HERE, THERE, Protocol.TCP), Template(THERE, HERE, Protocol.TCP)  # each has a window of its own


def copy(number: int, port: int = 22) -> bytes:
    tok = token(KEY, THERE, Protocol.TCP, port, number)
    return OUT.build(40_000 + number, port, tok)


def back(number: int, port: int = 22) -> bytes:
    data = bytearray(BACK.build(port, 40_000 + number, bytes(8)))
    data[33] = 0x12
    return bytes(data)


def kept(
    what: PacketRole, at_ms: float, data: bytes, number: int | None = None, port: int = 22, target: int = 1
) -> KeptPacket:
    return KeptPacket(target=target, port=port, what=what, at_ms=at_ms, data=data, copy=number, interface="eth0")


def cell(ports: str | None = "1-100", protocol: Protocol = Protocol.TCP) -> Cell:
    return Cell(
        key=replace(CELL, protocol=protocol),
        source_environment="dev",
        ports=ICMP_CELL if ports is None else PortSet.parse(ports),
        declared=Declared.DENIED,
        result=Result.FAIL,
        required=True,
        judged=judged(Evidence(protocol=protocol), "R1"),
    )


def put(
    store: Store, source: tuple[KeptPacket, ...], witness: tuple[KeptPacket, ...] = (), name: str = "R1"
) -> Exchanges:
    spec = replace(SPEC, round=name)
    store.start_round(spec, name, BEGAN - 1)
    health = (WitnessHealth(address=THERE, healthy=True, off_host=12),)
    reports: list[Report] = [
        WitnessReport(round=name, agent="prod-1", health=health, armed_ms=41.0, listened_s=5.0, kept=witness),
        SourceReport(round=name, agent="prod-2", role=Role.INSIDE),
        SourceReport(round=name, agent="dev-1", duration_s=2.0, kept=source),
    ]
    store.take("dev-1", "s", int(name[1:]), 1, reports, BEGAN + 4.5)
    return Exchanges(store.group_of)
