"""The plan as a person reads it: a line per task, and what it costs. Nothing here sends a packet."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reachability.catalogue import TLS_PORTS
from reachability.plan import PlanTarget
from reachability.ports import PortSet
from reachability.sides import FAMILIES, Sides, Source, family_of
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
    found: dict[tuple[str, Schedule], _Sent] = defaultdict(_Sent)
    swept: dict[tuple[PortSet, PortSet], int] = {}  # a plan has many targets, and few sets of ports
    for target in plan:
        ports = (target.sweep, target.cycle)
        if ports not in swept:
            swept[ports] = len(target.sweep - target.cycle)
        for schedule, cells in ((Schedule.CYCLE, len(target.cycle)), (Schedule.SWEEP, swept[ports])):
            if cells or schedule is Schedule.CYCLE:
                sent = found[target.agent, schedule]
                sent.destinations.add(target.destination)
                sent.hosts.add((target.destination, target.address))
                sent.cells[target.protocol] += cells
    return [
        _cost(topology, agent, schedule, len(sent.destinations), len(sent.hosts), sent.cells)
        for (agent, schedule), sent in found.items()
    ]


@dataclass(slots=True)
class _Sent:
    destinations: set[str] = field(default_factory=set)
    hosts: set[tuple[str, str]] = field(default_factory=set)
    cells: Counter[Protocol] = field(default_factory=Counter)


def declared_costs(sides: Sides) -> list[Cost]:
    """As `costs`, of all that is declared: what an agent has is all hosts without those of its own environment."""
    cycle = {protocol: len(sides.cycle(protocol)) for protocol in Protocol}
    sweep = {protocol: len(sides.swept(protocol) - sides.cycle(protocol)) for protocol in Protocol}
    schedules = {Schedule.CYCLE: (_Tried(sides, spared=True), cycle)}
    if any(sweep.values()):
        schedules[Schedule.SWEEP] = (_Tried(sides, spared=False), sweep)
    return [
        _cost(
            sides.topology,
            source.agent,
            schedule,
            tried.destinations(source),
            tried.hosts(source),
            {protocol: cells * tried.ways(source) for protocol, cells in each.items()},
        )
        for sources in sides.sources.values()
        for source in sources
        for schedule, (tried, each) in schedules.items()
        if tried.hosts(source)
    ]


class _Tried:
    """How many hosts of each family an environment has; those that a service asks to be spared count if `spared`."""

    def __init__(self, sides: Sides, *, spared: bool) -> None:
        self._of = {
            name: Counter(family_of(host.address) for host in hosts if spared or not host.spared)
            for name, hosts in sides.hosts.items()
        }
        self._all = Counter[int]()
        self._alike: Counter[frozenset[int]] = Counter()  # environments by the families that they have
        for mine in self._of.values():
            self._all.update(mine)
            self._alike[frozenset(mine)] += 1

    def _others(self, source: Source, kind: int) -> int:
        return self._all[kind] - self._of[source.environment][kind]

    def hosts(self, source: Source) -> int:
        """How many hosts an agent tries."""
        return sum(self._others(source, kind) for kind in FAMILIES if source.towards(kind))

    def ways(self, source: Source) -> int:
        """From how many of its addresses to how many hosts it tries them."""
        return sum(self._others(source, kind) * source.towards(kind) for kind in FAMILIES)

    def destinations(self, source: Source) -> int:
        """How many environments it tries hosts of."""
        known = {kind for kind in FAMILIES if source.towards(kind)}
        own = not known.isdisjoint(self._of[source.environment])
        return sum(count for kinds, count in self._alike.items() if kinds & known) - own


def _cost(
    topology: Topology, agent: str, schedule: Schedule, destinations: int, hosts: int, cells: Mapping[Protocol, int]
) -> Cost:
    rate = max(1, topology.probing.rate_pps)
    copies = COPIES[schedule]
    packets = round(sum(cells.values()) * copies * CONTROL_SHARE)
    waits = _room_s({protocol: count * copies for protocol, count in cells.items()}, topology.probing.flows)
    return Cost(
        agent=agent,
        schedule=schedule,
        destinations=destinations,
        hosts=hosts,
        cells=sum(cells.values()),
        packets=packets,
        seconds=round(max(packets / rate, waits) + destinations * ROUND_S + topology.probing.spread_s, 1),
        limit=Limit.FLOWS if waits > packets / rate else Limit.RATE_PPS,
    )


def _room_s(flows: Mapping[Protocol, int], most: int) -> float:
    """How long it takes until this many flows have gone through tables that may hold `most` of them."""
    total = sum(flows.values())
    if total <= most:
        return 0.0
    return sum(FLOW_S[protocol] * count for protocol, count in flows.items()) / most * (1 - most / total)
