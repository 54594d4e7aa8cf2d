"""What a round asks of whom: targets with their witnesses and inside controls, source controls, follow-ups. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from coordinator.rounds.beside import to_witness
from coordinator.rounds.deadlines import CELL_PACKETS, CLAIM_S, CONNECTS_S, DEADLINE_FACTOR, FLOW_S, GROUP_S, latest_s
from coordinator.state.roster import AgentState
from reachability.compare import key_of
from reachability.followups import FollowUp
from reachability.matrix import CellKey, Matrix
from reachability.observation import ControlTarget, Target
from reachability.plan import PlanTarget
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.topology import Network, Probing, Topology, is_address
from reachability.vocabulary import Protocol, RoundKind, Schedule
from wire.dial import Endpoint
from wire.messages import Arm, Go

LEAST_ROUND, MOST_ROUND, ROUND_S = (
    20_000,
    262_144,
    20,
)  # cells of a round: this many seconds of packets; larger sweeps are cut
CELLS_OF_A_FLOW = 2  # what goes through the bound on flows within some minutes
CANARIES = (49152, 65535)
CYCLE_COPIES, SWEEP_COPIES = 4, 3  # at least; the measured loss may ask for more


@dataclass(frozen=True, slots=True)
class Controls:
    """Where the coordinator answers agents over TCP, and over ICMP; of these addresses, the ones with an echo over UDP too.

    At `translated` ones another host takes the packets and hands ports on: an ICMP echo may well be answered by it alone.
    """

    endpoints: tuple[Endpoint, ...]
    echo: frozenset[str] = frozenset()
    translated: frozenset[str] = frozenset()

    def targets(self) -> tuple[ControlTarget, ...]:
        """All of them as controls."""
        found = []
        for address, port in self.endpoints:
            found.append(ControlTarget(address=address, protocol=Protocol.TCP, port=port))
            if address not in self.translated:
                found.append(ControlTarget(address=address, protocol=Protocol.ICMP))
            if address in self.echo:
                found.append(ControlTarget(address=address, protocol=Protocol.UDP, port=port))
        return tuple(found)


def targets_of(
    topology: Topology,
    plan: Iterable[PlanTarget],
    agent: str,
    destination: str,
    schedule: Schedule,
    agents: Mapping[str, AgentState],
) -> list[tuple[Target, ...]]:
    """The targets of one pair, cut into rounds of a bounded number of cells; empty when there is nothing to do."""
    rounds: list[list[Target]] = [[]]
    room = most = _most_cells(topology.probing, agents[agent])
    number = 0
    for target in plan:
        if target.agent != agent or target.destination != destination:
            continue
        ports = target.ports_in(schedule)
        for part in _parts(ports, most) if ports else ():
            if len(part) > room and rounds[-1]:
                rounds.append([])
                room = most
            room -= len(part)
            number += 1
            rounds[-1].append(_target(topology, target, number, part, agents, first=schedule is Schedule.CYCLE))
    return [tuple(targets) for targets in rounds if targets]


def _most_cells(probing: Probing, own: AgentState) -> int:
    """Of a round: so few that one whom its own bounds make slow is through with them in the time that `patience_s` gives it."""
    rate = min(probing.rate_pps, own.rate_pps or probing.rate_pps)
    flows = min(probing.flows, own.flows or probing.flows)
    slower_s = 0.0 if own.raw else CONNECTS_S  # by what it says of itself, a cell
    if rate < probing.rate_pps:
        slower_s += DEADLINE_FACTOR * CELL_PACKETS / rate
    if flows < probing.flows:
        slower_s += CELL_PACKETS * FLOW_S / flows
    most = min(MOST_ROUND, max(LEAST_ROUND, rate * ROUND_S), CELLS_OF_A_FLOW * flows)
    return min(most, max(1, int(CLAIM_S / slower_s))) if slower_s else most


def by_need(plan: Iterable[PlanTarget], matrix: Matrix) -> list[PlanTarget]:
    """The order in which to sweep: what was not closed last time, then what was not looked at for the longest time."""

    def need(target: PlanTarget) -> tuple[bool, float]:
        swept = [judged for _, judged in matrix.rows(key_of(target)) if judged.schedule is Schedule.SWEEP]
        closed = all(judged.verdict.green for judged in swept)
        return closed, min((judged.observed_at for judged in swept), default=0.0)

    return sorted(plan, key=need)


def _target(
    topology: Topology,
    target: PlanTarget,
    number: int,
    ports: PortSet,
    agents: Mapping[str, AgentState],
    *,
    first: bool,
) -> Target:
    inside = inside_agent(target, agents)
    return Target(
        id=number,
        environment=target.destination,
        address=target.address,
        protocol=target.protocol,
        ports=ports,
        first=ports if first and target.protocol is not Protocol.ICMP else PortSet(),
        source=target.source_address,
        name=target.name,
        witness=target.witness,
        inside=inside,
        canary=_canary(topology, target.protocol) if not target.witness and target.protocol is not Protocol.ICMP else 0,
    )


def inside_agent(target: PlanTarget, agents: Mapping[str, AgentState]) -> str:
    """Who is there to control the target from inside; one that sends raw packets sees more. "" for nobody."""
    online = [name for name in target.insides if (state := agents.get(name)) is not None and state.online]
    raw = [name for name in online if agents[name].raw]
    return next(iter([*raw, *online]), "")


def arms(
    topology: Topology, spec: RoundSpec, key: bytes, agents: Mapping[str, AgentState], follow: FollowUp | None
) -> dict[str, Arm]:
    """Agent to what it is asked: to listen for its own addresses, to control others from inside."""
    source = agents.get(spec.source)
    listen: dict[str, list[Target]] = {}
    inside: dict[str, list[Target]] = {}
    for target in (*spec.targets, *to_witness(spec)):
        witness = agents.get(target.witness)  # which may have left the topology meanwhile
        if witness is not None and witness.online:
            listen.setdefault(target.witness, []).append(target)
        if spec.kind is RoundKind.NORMAL and target.inside and is_address(target.address):
            # Where there is a witness, the inside control is for services: row 13 of the table asks for it.
            ports = target.first if target.witness and target.protocol is not Protocol.ICMP else target.ports
            if ports:
                inside.setdefault(target.inside, []).append(replace(target, ports=ports))
    groups = follow.groups if follow else ()
    ends_s = latest_s(spec.targets, topology.probing, follow.copies if follow else 0)
    return {
        agent: Arm(
            round=spec.round,
            key=key,
            # To a witness a trace is a round like any other, so that an older one can tell what arrives.
            kind=RoundKind.NORMAL if spec.kind is RoundKind.TRACE else spec.kind,
            source=spec.source,
            targets=tuple(listen.get(agent, ())),
            inside=tuple(inside.get(agent, ())),
            networks=_networks(topology, (*listen.get(agent, ()), *inside.get(agent, ()))),
            groups=groups,
            connects=not (source is not None and source.raw),
            ttl_s=ends_s + 120.0 + spec.spread_s + GROUP_S * len(groups),
        )
        for agent in dict.fromkeys((*listen, *inside))
    }


def go(
    spec: RoundSpec, key: bytes, networks: Iterable[Network], controls: Iterable[ControlTarget], follow: FollowUp | None
) -> Go:
    """What the source is asked."""
    copies = follow.copies if follow else SWEEP_COPIES if spec.schedule is Schedule.SWEEP else CYCLE_COPIES
    return Go(
        round=spec.round,
        key=key,
        kind=spec.kind,
        targets=(*spec.targets, *to_witness(spec)),
        networks=tuple(map(str, networks)),
        controls=tuple(controls),
        copies=copies,
        most_copies=max(48, copies),
        groups=follow.groups if follow else (),
        rate_pps=(follow.rate_pps or 0) if follow else 0,
        # A cycle is tried again by a round of its own, so that the next pair does not wait for this one's silence.
        spread_s=spec.spread_s if spec.schedule is Schedule.SWEEP and follow is None else 0.0,
    )


def _networks(topology: Topology, targets: Sequence[Target]) -> tuple[str, ...]:
    """Of the environment that targets of one agent are in."""
    environment = topology.environments.get(targets[0].environment)  # which may have left meanwhile
    return tuple(map(str, environment.networks)) if environment else ()


def narrowed(spec: RoundSpec, follow: FollowUp, round_id: str) -> RoundSpec:
    """The round that a follow-up asks for."""
    return replace(spec, round=round_id, kind=follow.kind, targets=follow.targets)


def still_planned(spec: RoundSpec, plan: Iterable[PlanTarget]) -> RoundSpec:
    """The round with what a plan that came meanwhile has as it was; a trace's target is the person's who asked for it."""
    if spec.kind is RoundKind.TRACE:
        return spec
    planned = {(key_of(target), target.witness) for target in plan if target.agent == spec.source}
    return replace(spec, targets=tuple(t for t in spec.targets if (_key(spec, t), t.witness) in planned))


def _key(spec: RoundSpec, target: Target) -> CellKey:
    return CellKey(
        agent=spec.source, source_address=target.source, destination=target.environment, address=target.address,
        protocol=target.protocol,
    )  # fmt: skip


def turns(spec: RoundSpec, follow: FollowUp | None) -> tuple[str, ...]:
    """The turns of its source that a round waits for.

    What is tried again goes beside the next pair's round, or a cycle of many would take twice as long; what keeps time alone.
    """
    again = f"{spec.source}, again"
    if follow is None:
        return (spec.source,)
    return (again,) if follow.kind is RoundKind.NORMAL else (spec.source, again)


def _canary(topology: Topology, protocol: Protocol) -> int:
    declared = PortSet()
    for environment in topology.environments.values():
        for service in environment.services.values():
            declared |= service.ports.of(protocol)
    while (port := random.randint(*CANARIES)) in declared:  # noqa: S311 - new each round, not secret
        pass
    return port


def _parts(ports: PortSet, most: int) -> list[PortSet]:
    parts: list[PortSet] = []
    while len(ports) > most:
        spans, room = [], most
        for low, high in ports.ranges:
            take = min(high - low + 1, room)
            spans.append((low, low + take - 1))
            room -= take
            if not room:
                break
        part = PortSet.from_ranges(spans)
        parts.append(part)
        ports -= part
    return [*parts, ports]


def sweep_overdue(plan: Iterable[PlanTarget], matrix: Matrix, agent: str, since: float) -> bool:
    """Whether something that was swept once was not again since then: a restart cut the last sweep off."""
    return any(
        judged.schedule is Schedule.SWEEP and judged.observed_at < since
        for target in plan
        if target.agent == agent
        for _, judged in matrix.rows(key_of(target))
    )
