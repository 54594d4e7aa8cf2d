"""The plan as a person reads it: a line per task, and what it costs. Nothing here sends a packet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from reachability.catalogue import TLS_PORTS
from reachability.plan import PlanTarget
from reachability.ports import PortSet
from reachability.topology import Topology, is_address
from reachability.vocabulary import Protocol, Schedule

COPIES = {
    Schedule.CYCLE: 6,
    Schedule.SWEEP: 4,
}  # of a silent cell, where little is lost; a cycle's two last after the spread
CONTROL_SHARE = 1.1  # a control every 25 packets, and some at both ends
FLOW_S = {Protocol.TCP: 12.0, Protocol.UDP: 30.0, Protocol.ICMP: 30.0}  # that an entry in a connection table is held
ROUND_S = 6.0  # arming, the wait for answers and the witnesses' tail: what a round takes with no packet at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A line of a plan: what an agent probes, when, who witnesses and who controls from inside."""

    id: int
    kind: str
    environment: str
    host: str
    protocol: Protocol
    ports: PortSet
    schedule: Schedule
    witness: str
    inside: str


def tasks(plan: Iterable[PlanTarget], agent: str) -> Iterator[Task]:
    """The lines of an agent's plan: a probe kind, a host and its ports each. Names are looked up first."""
    number = 0
    for target in plan:
        if target.agent != agent:
            continue
        lines: list[tuple[str, Protocol, PortSet, Schedule]] = []
        if target.protocol is Protocol.TCP:
            lines += (
                [("dns", Protocol.UDP, PortSet(), Schedule.CYCLE)]
                if target.names or not is_address(target.address)
                else []
            )
        if target.cycle:
            lines.append((target.protocol.value, target.protocol, target.cycle, Schedule.CYCLE))
        encrypted = target.service_ports & TLS_PORTS
        if target.protocol is Protocol.TCP and encrypted:
            lines.append(("tls", target.protocol, encrypted, Schedule.CYCLE))
        if target.sweep - target.cycle:
            lines.append((target.protocol.value, target.protocol, target.sweep - target.cycle, Schedule.SWEEP))
        for kind, protocol, ports, schedule in lines:
            number += 1
            yield Task(
                id=number,
                kind=kind,
                environment=target.destination,
                host=(target.name or target.address) if kind == "dns" else target.address,
                protocol=protocol,
                ports=ports,
                schedule=schedule,
                witness=target.witness,
                inside=target.inside,
            )


class Limit(StrEnum):
    """A bound of `probing` in the topology: what a schedule waits for longest."""

    RATE_PPS = "rate_pps"
    FLOWS = "flows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one schedule of one agent sends, where everything is silent: the most expensive case."""

    agent: str
    schedule: Schedule
    destinations: int
    hosts: int
    cells: int
    packets: int
    seconds: float
    limit: Limit  # what the seconds come from


def costs(topology: Topology, plan: Iterable[PlanTarget]) -> list[Cost]:
    """The cost of every agent's cycle and sweep."""
    found: dict[tuple[str, Schedule], list[tuple[PlanTarget, int]]] = {}
    swept: dict[tuple[PortSet, PortSet], int] = {}  # a plan has many targets, and few sets of ports
    for target in plan:
        found.setdefault((target.agent, Schedule.CYCLE), []).append((target, len(target.cycle)))
        ports = (target.sweep, target.cycle)
        if ports not in swept:
            swept[ports] = len(target.sweep - target.cycle)
        sweep = swept[ports]
        if sweep:
            found.setdefault((target.agent, Schedule.SWEEP), []).append((target, sweep))
    rate = max(1, topology.probing.rate_pps)
    result = []
    for (agent, schedule), entries in found.items():
        cells = sum(count for _, count in entries)
        copies = COPIES[schedule]
        packets = round(cells * copies * CONTROL_SHARE)
        rounds = len({target.destination for target, _ in entries})
        waits = _room_s(((target.protocol, count * copies) for target, count in entries), topology.probing.flows)
        result.append(
            Cost(
                agent=agent,
                schedule=schedule,
                destinations=rounds,
                hosts=len({(target.destination, target.address) for target, _ in entries}),
                cells=cells,
                packets=packets,
                seconds=round(max(packets / rate, waits) + rounds * ROUND_S + topology.probing.spread_s, 1),
                limit=Limit.FLOWS if waits > packets / rate else Limit.RATE_PPS,
            )
        )
    return result


def _room_s(sent: Iterable[tuple[Protocol, int]], most: int) -> float:
    """How long it takes until this many flows have gone through tables that may hold `most` of them."""
    flows = [(protocol, count) for protocol, count in sent]
    total = sum(count for _, count in flows)
    if total <= most:
        return 0.0
    return sum(FLOW_S[protocol] * count for protocol, count in flows) / most * (1 - most / total)
