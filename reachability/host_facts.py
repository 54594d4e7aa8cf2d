"""What a round's reports say of each host that was probed: whether its witness could see, what is bound, what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reachability.arrival import Untokened, WitnessHealth
from reachability.delivery import Delivery, deliveries
from reachability.observation import KernelFlow, Target
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.vocabulary import Canary, Protocol, RoundKind, State


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What holds for every port of one target."""

    healthy: bool
    why: str
    bound: PortSet = PortSet()
    drops_still: bool | None = None
    deliveries: tuple[tuple[PortSet, Delivery], ...] = ()
    untokened: PortSet = PortSet()  # ports with packets from outside that carry no token
    kernel_seen: PortSet = PortSet()  # ports at which a packet sent through the kernel arrived
    kernel_answered: PortSet = PortSet()  # those of them at which the host answered it
    canary: Canary = Canary.NOT_SENT
    hops: int | None = None
    least_hops: int | None = None
    heard_inside: bool = False  # an inside control had an answer from it, by whatever port or protocol


def host_facts(rounds: Sequence[RoundData], target: Target) -> HostFacts:
    """What holds for a target, of a round and its follow-ups together."""
    health = [h for data in rounds for w in data.witnesses for h in w.health if h.address == target.address]
    healthy, why = _healthy(rounds, target, health)
    bound = PortSet()
    if target.protocol is not Protocol.ICMP:
        for h in health:
            bound |= h.bound_tcp if target.protocol is Protocol.TCP else h.bound_udp
    flows = [
        flow
        for data in rounds
        for w in data.witnesses
        for flow in w.untokened
        if flow.address == target.address and flow.protocol is target.protocol and data.spec.kind is RoundKind.NORMAL
    ]
    kernel, answered, foreign = _kernel_flows(rounds, target, flows)
    return HostFacts(
        healthy=healthy,
        why=why,
        bound=bound,
        drops_still=all(h.drops_still for h in health) if health else None,
        deliveries=deliveries(rounds, target, health),
        untokened=foreign | _crowded(rounds, target),
        kernel_seen=kernel,
        kernel_answered=answered,
        canary=_canary(rounds, target),
        hops=next(iter(_of_source(rounds, target, "host_hops")), None),
        least_hops=min(_of_source(rounds, target, "least_hops"), default=None),
        heard_inside=any(
            o.address == target.address and o.state in {State.OPEN, State.CLOSED}
            for data in rounds
            for report in data.insides
            for o in report.observations
        ),
    )


def _healthy(rounds: Sequence[RoundData], target: Target, health: Sequence[WitnessHealth]) -> tuple[bool, str]:
    if not target.witness:
        return False, "no agent on this host"
    for data in rounds:
        if data.spec.kind is RoundKind.NORMAL and not any(
            h.address == target.address for w in data.witnesses if not w.late for h in w.health
        ):
            if not any(t.id == target.id for t in data.spec.targets):
                continue
            return False, f"agent {target.witness} did not report" if data.armed.get(target.witness) else (
                f"agent {target.witness} was not ready"
            )
    bad = next((h for h in health if not h.healthy), None)
    return bad is None, bad.why if bad else ""


def _kernel_flows(
    rounds: Sequence[RoundData], target: Target, flows: Sequence[Untokened]
) -> tuple[PortSet, PortSet, PortSet]:
    """Ports at which the source's kernel packets arrived, were answered, and ports with packets that nobody explains."""
    sent: dict[tuple[int, str], PortSet] = {}
    for data in rounds:
        for flow in data.source.kernel_flows if data.source else ():
            if (flow.address, flow.protocol) == (target.address, target.protocol):
                by = flow.source_port, flow.source_address
                sent[by] = sent.get(by, PortSet()) | _ports_of(flow)
    ours, answered, foreign = PortSet(), PortSet(), PortSet()
    for arrived in flows:
        ports = _ports_of(arrived)
        mine = ports & sent.get((arrived.source_port, arrived.came_from), PortSet())
        foreign |= ports - mine
        if target.source in {"", arrived.came_from}:
            ours |= mine
            answered |= mine if arrived.answered else PortSet()
    return ours, answered, foreign


def _ports_of(row: KernelFlow | Untokened) -> PortSet:
    return row.ports or PortSet.of([row.port])


def _crowded(rounds: Sequence[RoundData], target: Target) -> PortSet:
    """Ports with more packets without a token than the witness could keep."""
    found = PortSet()
    for data in rounds:
        for row in (row for w in data.witnesses for row in w.crowded):
            if row.address == target.address and row.protocol is target.protocol and data.spec.kind is RoundKind.NORMAL:
                found |= row.ports
    return found


def _canary(rounds: Sequence[RoundData], target: Target) -> Canary:
    every = [c for data in rounds if data.source for c in data.source.canaries if c.address == target.address]
    # An echo has none, and an older agent or one without raw sockets asks over TCP alone.
    own = [c for c in every if c.protocol is target.protocol]
    results = own or [c for c in every if c.protocol is Protocol.TCP]
    if not results:
        return Canary.NOT_SENT
    states = {state for c in results for state in (c.before, c.after)}
    if State.OPEN in states:
        return Canary.OPEN
    return Canary.UNKNOWN if State.ERROR in states else Canary.CLEAR


def _of_source(rounds: Sequence[RoundData], target: Target, field: str) -> list[int]:
    """What the source's reports have of the target's address in a table of theirs."""
    tables = [getattr(data.source, field) for data in rounds if data.source]
    return [table[target.address] for table in tables if target.address in table]
