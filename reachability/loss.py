"""How much loss the network may have, and how many copies rule out that loss hides an open port."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from reachability.arrival import WitnessReport
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.vocabulary import RoundKind

Z_ONE_SIDED_95 = 1.645
LEAST_LOSS = 0.001
MOST_MISSED = 0.01  # expected number of open ports of a pair that loss may have hidden
MOST_COPIES = 64
LEAST_PPS = 1000


def upper_bound(sent: int, lost: int) -> float | None:
    """One-sided 95% upper bound (Wilson score) of the loss ratio, at least 0.1%; None when nothing was measured."""
    if sent <= 0:
        return None
    lost = min(max(lost, 0), sent)
    ratio, z2 = lost / sent, Z_ONE_SIDED_95**2
    centre = ratio + z2 / (2 * sent)
    spread = Z_ONE_SIDED_95 * math.sqrt(ratio * (1 - ratio) / sent + z2 / (4 * sent * sent))
    return min(1.0, max(LEAST_LOSS, (centre + spread) / (1 + z2 / sent)))


def lower_bound(sent: int, lost: int) -> float:
    """The same from below; 0.0 when nothing was measured."""
    bound = upper_bound(sent, sent - min(max(lost, 0), sent))
    return 0.0 if bound is None else max(0.0, 1 - bound)


def worst(groups: Iterable[tuple[int, int]]) -> float | None:
    """Upper bound of the loss over groups of packets (sent, lost) of the same time; None when nothing was measured.

    All together count, unless a group clearly loses more than the rest: what goes elsewhere does not speak for the pair.
    """
    measured = [(sent, min(max(lost, 0), sent)) for sent, lost in groups if sent > 0]
    sent, lost = sum(sent for sent, _ in measured), sum(lost for _, lost in measured)
    bounds = [upper_bound(sent, lost)]
    for mine, gone in measured:
        rest = upper_bound(sent - mine, lost - gone)
        if rest is not None and lower_bound(mine, gone) > rest:
            bounds.append(upper_bound(mine, gone))
    return max((bound for bound in bounds if bound is not None), default=None)


def copies_needed(cells: int, loss: float) -> int | None:
    """Copies per cell, so that of `cells` that may answer fewer than 0.01 are missed by loss; None: more than 64.

    All that are tried count, not those that are silent in the end: each of the others could have been missed as well.
    """
    if cells <= 0:
        return 1
    if loss >= 1:
        return None
    copies = max(1, math.ceil(math.log(MOST_MISSED / cells) / math.log(loss)))
    return copies if copies <= MOST_COPIES else None


def missed_before_capture(rounds: Sequence[RoundData]) -> float:
    """How much of what came to a witness's host its kernel may have thrown away first: copies among it.

    Neither the capture nor the host's own stack had them, so that no answer comes from one that was missed. The counters may
    be the machine's, and the packets other hosts': all of them are set against the few that this one is known to have had.
    """
    return max((_share(d.witnesses, agent) for d in rounds for agent in {w.agent for w in d.witnesses}), default=0.0)


def _share(witnesses: Sequence[WitnessReport], agent: str) -> float:
    mine = [w for w in witnesses if w.agent == agent]
    lost = max((h.missed for w in mine for h in w.health), default=0)
    had = max(sum(h.off_host for w in mine for h in w.health), sum(row.copies for w in mine for row in w.arrivals))
    return (upper_bound(had + lost, lost) or 0.0) if lost > 0 else 0.0


def partial(rounds: Sequence[RoundData]) -> tuple[int, int]:
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


def slower_pps(rounds: Sequence[RoundData]) -> int:
    """A quarter of the rate that the last round went at."""
    rates = [d.source.packets / d.source.duration_s for d in rounds if d.source and d.source.duration_s]
    return max(LEAST_PPS, int(rates[-1] / 4)) if rates else 0


def uncaptured(rounds: Sequence[RoundData]) -> float:
    """How much of what came back the source's own capture may have lost: answers to silent cells among it."""
    lost = sum(data.source.uncaptured for data in rounds if data.source)
    seen = sum(data.source.captured for data in rounds if data.source)
    return (upper_bound(seen + lost, lost) or 0.0) if lost else 0.0
