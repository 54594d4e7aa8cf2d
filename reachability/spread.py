"""Over how long a time the copies of a silent cell left: an outage that is shorter cannot have hidden an open port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from reachability.observation import Observation
from reachability.verdict import Evidence, judge
from reachability.vocabulary import Arrival, State, Unproven

SLACK = 0.9  # of the spread: what is timed by two clocks, and rounded


def span_s(observations: Sequence[Observation]) -> float | None:
    """Seconds from the first to the last copy of a port, over its rounds in their order; None: not known.

    Copies that count for nothing are left out where others do. Times are of one host's clock since it booted: where they
    do not rise from round to round it has booted meanwhile, and each round counts by itself.
    """
    counted = [o for o in observations if o.covered] or observations
    spans = [(o.first_at, o.last_at) for o in counted if o.first_at is not None and o.last_at is not None]
    if not spans:
        return None
    if all(last <= first for (_, last), (first, _) in pairwise(spans)):
        spans = [(spans[0][0], spans[-1][1])]
    return max(0.0, *(last - first for first, last in spans))


def with_spread(e: Evidence, spread_s: float) -> Evidence:
    """Evidence by which silence counts only over a time of about `spread_s`, seconds."""
    silent = e.state in {State.FILTERED, State.OPEN_FILTERED} and e.arrival is not Arrival.SEEN
    if not silent or (e.span_s or 0.0) >= SLACK * spread_s or not judge(e).green:
        return e
    return replace(e, problem=Unproven.SPREAD)
