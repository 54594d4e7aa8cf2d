"""What a round's reports say of each host and of the pair as a whole: health, controls, canaries, loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reachability.loss import lower_bound, missed_before_capture, upper_bound, worst
from reachability.observation import ControlResult, KernelFlow, Observation, Target, Untokened, WitnessHealth
from reachability.ports import ALL_PORTS, PortSet
from reachability.round_data import RoundData
from reachability.topology import family, is_address
from reachability.vocabulary import Canary, ControlKind, Protocol, RoundKind, State

LEAST_PPS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What holds for every port of one target."""

    healthy: bool
    why: str
    bound: PortSet = PortSet()
    drops_still: bool | None = None
    noports: tuple[tuple[PortSet, bool | None], ...] = ()  # True: the counter stood still while copies arrived
    untokened: PortSet = PortSet()  # ports with packets from outside that carry no token
    kernel_seen: PortSet = PortSet()  # ports at which a packet sent through the kernel arrived
    kernel_answered: PortSet = PortSet()  # those of them at which the host answered it
    canary: Canary = Canary.NOT_SENT
    hops: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlFacts:
    """Whether packets of a cell's kind were shown to leave the environment, and for how many copies that holds."""

    good: bool
    covered: int
    by: str = ""


class Sending(NamedTuple):
    """What packets share that a control can speak for."""

    protocol: Protocol
    family: int
    source_address: str
    via: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFacts:
    """What holds for the pair in this round."""

    hosts: Mapping[int, HostFacts]
    controls: tuple[ControlResult, ...]
    arrived: Mapping[Sending, int]  # to the last copy that a witness saw
    loss_and_back: float | None
    loss_to_witness: float | None
    slower_pps: int | None  # at which further copies may do better: witnesses miss more than the controls tell

    def has_answered(self, protocol: Protocol, address: str) -> bool:
        """Whether a control of the protocol and the address's family was answered at all."""
        return is_address(address) and any(
            c.protocol is protocol and c.answered and family(c.address) == family(address) for c in self.controls
        )

    def control(self, o: Observation, target: Target) -> ControlFacts:
        """The source control that holds for an observation: an answer from outside, else a witness that saw copies."""
        if not o.via or not is_address(target.address):
            return ControlFacts(good=False, covered=0)
        ip = family(target.address)
        for control in self.controls:
            if (
                control.protocol is target.protocol
                and control.answered
                and control.kind != ControlKind.PAIR
                and control.source_address == o.source_address
                and control.via == o.via
                and family(control.address) == ip
                and o.covered
            ):
                return ControlFacts(good=True, covered=o.covered, by=f"{control.kind} {control.address} answered")
        last = self.arrived.get(Sending(target.protocol, ip, o.source_address, o.via))
        if last:
            # Only the passes before the last one of which something arrived are known to have got out whole.
            return ControlFacts(good=True, covered=min(o.sent, last), by="a witness saw copies of other ports")
        return ControlFacts(good=False, covered=0)


def gather(rounds: Sequence[RoundData]) -> PairFacts:
    """Facts of a round and its follow-ups together."""
    controls = tuple(c for data in rounds if data.source for c in data.source.controls)
    back = [c for c in controls if c.answered]
    ways = [(c.sent, c.sent - c.answered) for c in back if c.kind != ControlKind.PAIR]
    pair = [(c.sent, c.sent - c.answered) for c in back if c.kind == ControlKind.PAIR]
    groups = [(sum(sent for sent, _ in group), sum(lost for _, lost in group)) for group in (ways, pair)]
    copies, arrived_copies = _partial(rounds)
    return PairFacts(
        hosts={target.id: _host(rounds, target) for target in rounds[0].spec.targets},
        controls=controls,
        arrived=_last_copies(rounds),
        loss_and_back=_at_least(worst(groups), _uncaptured(rounds)),
        loss_to_witness=_at_least(worst([*groups, (copies, copies - arrived_copies)]), missed_before_capture(rounds)),
        slower_pps=_slower(rounds) if lower_bound(copies, copies - arrived_copies) > (worst(groups) or 0.0) else None,
    )


def _slower(rounds: Sequence[RoundData]) -> int:
    """A quarter of the rate that the last round went at."""
    rates = [d.source.packets / d.source.duration_s for d in rounds if d.source and d.source.duration_s]
    return max(LEAST_PPS, int(rates[-1] / 4)) if rates else 0


def _uncaptured(rounds: Sequence[RoundData]) -> float:
    """How much of what came back the source's own capture may have lost: answers to silent cells among it."""
    lost = sum(data.source.uncaptured for data in rounds if data.source)
    seen = sum(data.source.captured for data in rounds if data.source)
    return (upper_bound(seen + lost, lost) or 0.0) if lost else 0.0


def _at_least(loss: float | None, least: float) -> float | None:
    return None if loss is None else max(loss, least)


def _host(rounds: Sequence[RoundData], target: Target) -> HostFacts:
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
        noports=_noports(rounds, target, health),
        untokened=foreign | _crowded(rounds, target),
        kernel_seen=kernel,
        kernel_answered=answered,
        canary=_canary(rounds, target),
        hops=_hops(rounds, target),
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


def _noports(
    rounds: Sequence[RoundData], target: Target, health: Sequence[WitnessHealth]
) -> tuple[tuple[PortSet, bool | None], ...]:
    """Whether the host's `Udp: NoPorts` stood still: over the whole round when that is clear, else group by group."""
    if target.protocol is not Protocol.UDP or not health:
        return ()
    groups = [g for data in rounds for w in data.witnesses for g in w.groups if g.target == target.id and g.arrived]
    known: list[tuple[PortSet, bool | None]] = []
    main = health[0]
    if main.udp_unbound and main.noports == 0:
        known.append((ALL_PORTS, True))
    elif main.udp_unbound and main.noports >= main.udp_unbound:
        known.append((ALL_PORTS, False))
    known.extend((g.ports, True) for g in groups if not g.moved)
    known.extend((g.ports, False) for g in groups if g.moved >= g.arrived)
    return tuple(known)


def _canary(rounds: Sequence[RoundData], target: Target) -> Canary:
    results = [c for data in rounds if data.source for c in data.source.canaries if c.address == target.address]
    if not results:
        return Canary.NOT_SENT
    states = {state for c in results for state in (c.before, c.after)}
    if State.OPEN in states:
        return Canary.OPEN
    return Canary.UNKNOWN if State.ERROR in states else Canary.CLEAR


def _hops(rounds: Sequence[RoundData], target: Target) -> int | None:
    return next(
        (
            data.source.host_hops[target.address]
            for data in rounds
            if data.source and target.address in data.source.host_hops
        ),
        None,
    )


def _partial(rounds: Sequence[RoundData]) -> tuple[int, int]:
    """Copies sent to, and arrived at, ports of which some copies arrived: how the way there loses packets.

    Copies that count for nothing (sent too fast, or into a ban) are not among them.
    """
    sent = arrived = 0
    for data in rounds:
        if data.source is None or data.spec.kind is not RoundKind.NORMAL:
            continue
        tried = _by_target((o.target, o.covered or o.sent, o.ports) for o in data.source.observations)
        for w in data.witnesses:
            for target, rows in _by_target((row.target, row.copies, row.ports) for row in w.arrivals).items():
                for copies, ports in rows.items():
                    for counted, among in tried.get(target, {}).items():
                        shared = len(ports & among)
                        sent += shared * counted
                        arrived += shared * min(copies, counted)
    return sent, arrived


def _by_target(rows: Iterable[tuple[int, int, PortSet]]) -> dict[int, dict[int, PortSet]]:
    """Target to a number of copies to the ports that had this many."""
    found: dict[int, dict[int, PortSet]] = {}
    for target, copies, ports in rows:
        by_copies = found.setdefault(target, {})
        by_copies[copies] = by_copies.get(copies, PortSet()) | ports
    return found


def _last_copies(rounds: Sequence[RoundData]) -> dict[Sending, int]:
    last: dict[Sending, int] = {}
    for data in rounds:
        if data.source is None:
            continue
        sent_from = {o.target: (o.source_address, o.via) for o in data.source.observations if o.via}
        for w in data.witnesses:
            for row in w.arrivals:
                if row.target in sent_from:
                    key = Sending(row.protocol, family(row.address), *sent_from[row.target])
                    last[key] = max(last.get(key, 0), row.last_copy)
    return last
