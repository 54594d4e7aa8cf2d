"""Declared endpoints that show that an agent's packets get out, where the coordinator itself is not let answer.

The strictest usual firewall lets agents through to the broker's TCP port and nothing else. What it lets through besides is
declared, and serves: an endpoint that answers, or whose host's witness sees the packets, for every pair of the agent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from coordinator.state.estate import Estate
from coordinator.state.roster import AgentState
from reachability.observation import ControlResult, ControlTarget, SourceReport, Target
from reachability.plan import PlanTarget
from reachability.policy import Policy
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.topology import Topology, family, is_address
from reachability.vocabulary import ControlKind, Declared, Protocol, RoundKind

MOST_A_KIND = 4


class Sort(NamedTuple):
    """Packets that one source control speaks for, as far as the coordinator knows before they leave."""

    protocol: Protocol
    family: int
    source_address: str


class Beside:
    """What an agent's rounds send beside their cells. Nothing, once the coordinator itself has answered the agent."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate
        self._answered: dict[str, frozenset[Sort]] = {}  # agent -> what the coordinator answered it in its last round

    def heard(self, report: SourceReport | None) -> None:
        """A source's report has come in."""
        if report is not None:
            self._answered[report.agent] = shown(report.controls)

    def targets(self, agent: str, plan: Sequence[PlanTarget], targets: Sequence[Target]) -> tuple[Target, ...]:
        """As `beside`; without raw sockets an agent sends no packet that a witness could tell from others."""
        estate = self._estate
        if not estate.agents[agent].raw:
            return ()
        without = self._answered.get(agent, frozenset())
        return beside(estate.topology, plan, targets, estate.agents, source=agent, without=without, now=estate.now())


def shown(controls: Iterable[ControlResult]) -> frozenset[Sort]:
    """What a report's controls at the coordinator were answered for: it needs nothing beside."""
    return frozenset(
        Sort(c.protocol, family(c.address), c.source_address)
        for c in controls
        if c.answered and c.kind == ControlKind.COORDINATOR
    )


def beside(
    topology: Topology,
    plan: Sequence[PlanTarget],
    targets: Sequence[Target],
    agents: Mapping[str, AgentState],
    *,
    source: str,
    without: frozenset[Sort],
    now: datetime,
) -> tuple[Target, ...]:
    """Endpoints for a round of `source` to these targets: four at most of each sort, those with a witness first.

    Args:
        topology: what is declared.
        plan: with all targets of all agents.
        targets: the round's.
        agents: who is there.
        source: the agent.
        without: sorts that need none.
        now: decides which paths are in force.
    """
    wanted = {Sort(t.protocol, family(t.address), t.source) for t in targets if is_address(t.address)} - without
    policy, taken = Policy(topology, now), Counter[Sort]()
    number = max((target.id for target in targets), default=0)
    found: list[Target] = []
    mine = [t for t in plan if t.agent == source and is_address(t.address) and not t.elsewhere]
    for target in sorted(mine, key=lambda t: not _listens(agents, t.witness)):
        sort = Sort(target.protocol, family(target.address), target.source_address)
        if sort not in wanted:
            continue
        ports = _declared(policy, target, any_port=_listens(agents, target.witness))
        for port in list(ports)[: MOST_A_KIND - taken[sort]]:
            taken[sort] += 1
            number += 1
            found.append(
                Target(
                    id=number,
                    environment=target.destination,
                    address=target.address,
                    protocol=target.protocol,
                    ports=PortSet.of([port]),
                    source=target.source_address,
                    witness=target.witness if _listens(agents, target.witness) else "",
                    beside=True,
                )
            )
    return tuple(found)


def to_witness(spec: RoundSpec) -> tuple[Target, ...]:
    """What witnesses are to see beside the round's cells; a round of further questions has the wire to itself."""
    if spec.kind is not RoundKind.NORMAL:
        return ()
    cells = {(t.address, t.protocol, t.source): t.ports for t in spec.targets}
    seen = (t for t in spec.beside if t.witness)
    return tuple(t for t in seen if not t.ports & cells.get((t.address, t.protocol, t.source), PortSet()))


def controls_of(targets: Iterable[Target]) -> tuple[ControlTarget, ...]:
    """Those without a witness, as controls that may answer.

    To a witness a service's own request carries no token: another round's would take it for a packet from elsewhere.
    """
    return tuple(
        ControlTarget(
            address=target.address,
            protocol=target.protocol,
            port=0 if target.protocol is Protocol.ICMP else target.ports.first,
            kind=ControlKind.DECLARED,
            source=target.source,
        )
        for target in targets
        if not target.witness
    )


def _listens(agents: Mapping[str, AgentState], witness: str) -> bool:
    state = agents.get(witness)
    return state is not None and state.online and state.raw


def _declared(policy: Policy, target: PlanTarget, *, any_port: bool) -> PortSet:
    """The target's ports that a path lets through; without a witness those of services alone: others answer nothing."""
    named = target.service_ports
    if any_port or target.protocol is Protocol.ICMP:
        named |= target.cycle
    return PortSet.union(
        ports & named for ports, decision in policy.decide(target) if decision.declared is not Declared.DENIED
    )
