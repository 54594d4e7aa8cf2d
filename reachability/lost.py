"""Which verdicts lean on what loss may have hidden, and what more copies they need."""

from __future__ import annotations

from dataclasses import replace

from reachability.distance import Closer, closer
from reachability.facts import PairFacts
from reachability.loss import copies_needed
from reachability.matrix import CellKey
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.verdict import THREE_FLOWS, Evidence
from reachability.vocabulary import Arrival, State, Unproven


def with_loss(
    cells: list[tuple[CellKey, Target, PortSet, Evidence]], pair: PairFacts
) -> tuple[list[tuple[CellKey, Target, PortSet, Evidence]], int]:
    """Silence counts only where enough copies were sent that loss cannot have hidden an open port of the pair.

    Returns the cells and how many more copies those that lack some would need (0: none, or more than is reasonable).
    """
    tried = sum(len(ports) for _, _, ports, _ in cells)
    result, more = [], 0
    for key, target, ports, e in cells:
        if not _leans_on_loss(e):
            result.append((key, target, ports, e))
            continue
        witnessed = e.arrival is not Arrival.NO_WITNESS
        loss = (pair.loss_to_witness if witnessed else pair.loss_and_back)[target.id]
        needed = None if loss is None else copies_needed(tried, loss)
        if needed is not None and e.state is State.CLOSED:
            needed = max(THREE_FLOWS, needed - 1)  # one copy was not lost, whose leg may be one of several
        now = replace(e, loss=loss)
        if needed is None or e.covered < needed:
            if now.control and not now.problem:
                more = max(more, (needed or 0) - e.covered)
            answered = pair.has_answered(key.protocol, key.address, outside=True)
            # Where a witness alone shows that copies got out, the last of them is never shown to: more are asked for as well.
            if e.covered == e.sent > 0 or (e.control and e.covered and not answered):
                problem = Unproven.LOSS
            else:
                problem = Unproven.CONTROLS_STOPPED if answered and e.covered < e.sent else Unproven.NO_SOURCE_CONTROL
            now = replace(now, problem=now.problem or problem)
        result.append((key, target, ports, now))
    return result, more


def _leans_on_loss(e: Evidence) -> bool:
    """Whether the cell would be green because nothing else was heard: by silence, a refusal or what closed it on the way."""
    if e.arrival is Arrival.SEEN:
        return e.prohibited_at_host >= e.sent > 0
    if e.state is State.CLOSED:
        known = e.arrival is Arrival.NOT_SEEN or e.host_hops is not None
        return known and closer(e.hops, e.host_hops, e.via) is Closer.PATH
    return e.state in {State.FILTERED, State.OPEN_FILTERED}
