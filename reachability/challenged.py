"""What a round's challenge says of each port at which packets without a token came in."""

from __future__ import annotations

from collections.abc import Sequence

from reachability.challenge import Challenged, is_hidden_by, ours
from reachability.facts import PairFacts
from reachability.observation import SourceReport, Target
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.topology import family
from reachability.vocabulary import ControlKind, RoundKind


def challenged(
    rounds: Sequence[RoundData], pair: PairFacts, target: Target, ports: PortSet
) -> list[tuple[PortSet, Challenged]]:
    """What the challenge rounds say of each port with packets that carry no token."""
    said: dict[Challenged, list[int]] = {}
    if not ports:
        return []
    for port in ports:
        answer = Challenged.UNDECIDED
        for data in rounds:
            if data.spec.kind is not RoundKind.CHALLENGE or data.source is None or not data.source.slots:
                continue
            if not any(t.id == target.id and port in t.ports for t in data.spec.targets):
                continue
            flows = tuple(
                flow
                for w in data.witnesses
                for flow in w.untokened
                if flow.address == target.address and flow.protocol is target.protocol and flow.port == port
            )
            listened = any(h.address == target.address and h.healthy for w in data.witnesses for h in w.health)
            if listened and not _is_crowded(data, target, port):
                answer = ours(data.source.slots, data.source.slot_ms, flows)
                replied = [flow for flow in flows if flow.answered]
                if answer is Challenged.SEEN and ours(data.source.slots, data.source.slot_ms, replied) is answer:
                    answer = Challenged.SEEN_ANSWERED
                if answer is Challenged.NOT_SEEN and not _would_show(data.source, pair, target):
                    answer = Challenged.UNDECIDED
        said.setdefault(answer, []).append(port)
    return [(PortSet.of(ports), answer) for answer, ports in said.items()]


def _would_show(challenge: SourceReport, pair: PairFacts, target: Target) -> bool:
    """Whether ours would have been noticed: packets still got out after the challenge, not into a ban, and few were lost."""
    mine = [
        c
        for c in challenge.controls
        if c.answered and family(c.address) == family(target.address) and target.source in {"", c.source_address}
    ]
    banned = any(c.kind == ControlKind.PAIR and not c.ended_good for c in mine)
    out = any(c.kind != ControlKind.PAIR and c.ended_good and c.protocol is target.protocol for c in mine)
    return out and not banned and not is_hidden_by(pair.loss_to_witness[target.id], sum(challenge.slots))


def _is_crowded(data: RoundData, target: Target, port: int) -> bool:
    rows = (row for w in data.witnesses for row in w.crowded)
    return any(row.address == target.address and row.protocol is target.protocol and port in row.ports for row in rows)
