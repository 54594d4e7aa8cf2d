"""What a green cell leaves open: the flows and moments that were not tried, and how large a leak among them may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reachability.verdict import Evidence, Verdict

UNSEEN = 0.05  # the chance at which a leak still counts as one that could have been missed


@dataclass(frozen=True, slots=True)
class Limits:
    """Over how many flows and seconds a proof holds, and at which bound of loss; None: not known.

    `share` is the largest part of flows that may get through, 0..1, so that none of those tried did, at a chance of one in twenty:
    of the legs of a path, or of the moments in which copies left.
    """

    flows: int
    seconds: float | None
    loss: float | None
    share: float


def limits(verdict: Verdict, e: Evidence) -> Limits | None:
    """The limits of a green cell; None for any other, which nothing is proven of, or which was reached."""
    if not verdict.green:
        return None
    flows = max(1, min(e.flows, e.covered) or e.flows)
    return Limits(flows, e.span_s, e.loss, hidden_share(flows, e.loss or 0.0))


def hidden_share(flows: int, loss: float) -> float:
    """The share s of flows that get through for which (1 - s (1 - loss))^flows is one in twenty; 1.0 at most."""
    seen = 1.0 - UNSEEN ** (1.0 / flows)
    return 1.0 if loss >= 1.0 else min(1.0, seen / (1.0 - loss))


def weakest(found: Iterable[Limits]) -> Limits | None:
    """What holds for all of them; None for none."""
    every = list(found)
    if not every:
        return None
    spans = [one.seconds for one in every if one.seconds is not None]
    losses = [one.loss for one in every if one.loss is not None]
    return Limits(
        flows=min(one.flows for one in every),
        seconds=min(spans, default=None),
        loss=max(losses, default=None),
        share=max(one.share for one in every),
    )
