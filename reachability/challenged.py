"""What a round's challenges say of each port at which packets without a token came in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from reachability.arrival import Untokened
from reachability.challenge import Challenged, is_enough, is_hidden_by, known, ours, shown
from reachability.facts import PairFacts
from reachability.loss import upper_bound
from reachability.observation import SourceReport, Target
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.topology import family
from reachability.vocabulary import ControlKind, RoundKind

ANY = -1  # source port
_RANK = (Challenged.UNDECIDED, Challenged.NOT_SEEN, Challenged.SEEN, Challenged.SEEN_ANSWERED)


def challenged(
    rounds: Sequence[RoundData], pair: PairFacts, target: Target, ports: PortSet
) -> list[tuple[PortSet, Challenged]]:
    """What the challenge rounds say of each port with packets that carry no token; what one has seen stays seen."""
    if not ports:
        return []
    answers = dict.fromkeys(ports, Challenged.UNDECIDED)
    for data in rounds:
        if data.spec.kind is RoundKind.CHALLENGE and data.source is not None and data.source.slots:
            for port, answer in _of_round(data, data.source, pair, target, ports):
                answers[port] = max(answers[port], answer, key=_RANK.index)
    said: dict[Challenged, list[int]] = {}
    for port, answer in answers.items():
        said.setdefault(answer, []).append(port)
    return [(PortSet.of(some), answer) for answer, some in said.items()]


def tried(rounds: Sequence[RoundData], target: Target) -> tuple[PortSet, ...]:
    """The ports of a target that each challenge tried, in turn; one that fell behind its pattern tried none."""
    challenges = (data for data in rounds if data.spec.kind is RoundKind.CHALLENGE)
    return tuple(_asked(data, target) for data in challenges if not fell_behind(data))


def fell_behind(data: RoundData) -> bool:
    """Whether the source says of a challenge that it could not keep to the pattern."""
    return data.spec.kind is RoundKind.CHALLENGE and data.source is not None and not data.source.slots


def _of_round(
    data: RoundData, source: SourceReport, pair: PairFacts, target: Target, ports: PortSet
) -> list[tuple[int, Challenged]]:
    asked = _asked(data, target) & ports
    if not asked or not any(h.address == target.address and h.healthy for w in data.witnesses for h in w.health):
        return []
    flows: dict[int, list[Untokened]] = {}
    for flow in (flow for w in data.witnesses for flow in w.untokened):
        if flow.address == target.address and flow.protocol is target.protocol and flow.port in asked:
            flows.setdefault(flow.port, []).append(flow)
    us = _Us.of(source, flows.values())
    unsent = PortSet.union(o.ports for o in source.observations if o.target == target.id)
    would_show = _would_show(source, target, us.loss(source, flows.values(), pair.loss_to_witness[target.id]))
    return [
        (port, _said(source, flows.get(port, ()), us, would_show=would_show and port not in unsent))
        for port in asked - _crowded(data, target)
    ]


@dataclass(frozen=True, slots=True)
class _Us:
    """Who sent the challenge, as the witness saw it: by all ports together, however little came to each."""

    senders: frozenset[tuple[str, int]]  # address and port: the source has one for all ports
    addresses: frozenset[str]  # behind NAT that has a port for each connection, all that is known

    @classmethod
    def of(cls, challenge: SourceReport, ports: Iterable[Sequence[Untokened]]) -> _Us:
        times: dict[tuple[str, int], list[int]] = {}
        for flow in chain.from_iterable(ports):
            times.setdefault((flow.came_from, ANY), []).extend(flow.times_ms)
            if flow.flows == 1:
                times.setdefault((flow.came_from, flow.source_port), []).extend(flow.times_ms)
        found = known(challenge.slots, challenge.slot_ms, times)
        senders = frozenset(sender for sender in found if sender[1] != ANY)
        return cls(senders, frozenset(address for address, _ in found))

    def sent(self, flow: Untokened) -> bool:
        """Whether these are our packets."""
        return flow.flows == 1 and (flow.came_from, flow.source_port) in self.senders

    def may_have_sent(self, flow: Untokened) -> bool:
        """Whether they may be: a few that came from our address, and by which port is not known or tells nothing."""
        if flow.came_from not in self.addresses or self.sent(flow):
            return self.sent(flow)
        return flow.flows > 1 or all(address != flow.came_from for address, _ in self.senders)

    def loss(self, challenge: SourceReport, ports: Iterable[Sequence[Untokened]], loss: float | None) -> float | None:
        """What the challenge itself lost, where that is more than was measured elsewhere: nothing else may tell of it."""
        came = [sum(flow.count for flow in flows if self.may_have_sent(flow)) for flows in ports]
        sent = sum(map(bool, came)) * sum(challenge.slots_sent)
        lost = upper_bound(sent, sent - sum(came))
        return loss if loss is None or lost is None else max(loss, lost)


def _said(challenge: SourceReport, flows: Sequence[Untokened], us: _Us, *, would_show: bool) -> Challenged:
    """What came in the on-slots is ours whatever was seen to leave; what did not come is only held against what was."""
    mine = [flow for flow in flows if us.sent(flow)]
    if mine:
        return Challenged.SEEN_ANSWERED if any(flow.answered for flow in mine) else Challenged.SEEN
    answer = ours(challenge.slots, challenge.slot_ms, flows)
    if answer is Challenged.SEEN:
        replied = [flow for flow in flows if flow.answered]
        whole = ours(challenge.slots, challenge.slot_ms, replied) is answer
        return Challenged.SEEN_ANSWERED if whole else answer
    if answer is Challenged.NOT_SEEN and would_show and not any(map(us.may_have_sent, flows)):
        left = shown(challenge.slots, challenge.slots_sent)
        if left == challenge.slots or ours(left, challenge.slot_ms, flows) is answer:
            return answer
    return Challenged.UNDECIDED


def _would_show(challenge: SourceReport, target: Target, loss: float | None) -> bool:
    """Whether ours would have been noticed: they left, packets still got out after them, not into a ban, and few were lost."""
    mine = [
        c
        for c in challenge.controls
        if c.answered and family(c.address) == family(target.address) and target.source in {"", c.source_address}
    ]
    banned = any(c.kind == ControlKind.PAIR and not c.ended_good for c in mine)
    out = any(c.kind != ControlKind.PAIR and c.ended_good and c.protocol is target.protocol for c in mine)
    left = shown(challenge.slots, challenge.slots_sent)
    enough = is_enough(challenge.slots, challenge.slots_sent)
    return out and not banned and enough and not is_hidden_by(loss, sum(left))


def _asked(data: RoundData, target: Target) -> PortSet:
    return PortSet.union(t.ports for t in data.spec.targets if t.id == target.id)


def _crowded(data: RoundData, target: Target) -> PortSet:
    rows = (row for w in data.witnesses for row in w.crowded)
    return PortSet.union(row.ports for row in rows if row.address == target.address and row.protocol is target.protocol)
