"""How much loss the network may have, and how many copies rule out that loss hides an open port."""

from __future__ import annotations

import math

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


def copies_needed(silent: int, loss: float) -> int | None:
    """Copies a cell for `silent` silent cells, so that fewer than 0.01 open ones are missed; None: more than 64."""
    if silent <= 0:
        return 1
    if loss >= 1:
        return None
    copies = max(1, math.ceil(math.log(MOST_MISSED / silent) / math.log(loss)))
    return copies if copies <= MOST_COPIES else None
