"""How much loss the network may have, and how many copies rule out that loss hides an open port."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from reachability.observation import WitnessReport
from reachability.round_data import RoundData

Z_ONE_SIDED_95 = 1.645
LEAST_LOSS = 0.001
MOST_MISSED = 0.01  # expected number of open ports of a pair that loss may have hidden
MOST_COPIES = 64


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
