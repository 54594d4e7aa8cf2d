"""Which tests a worker begins with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def dealt(lots: Sequence[Sequence[T]], rest: Sequence[T], workers: int) -> list[T]:
    """All of them in an order of which each worker is given an even share: its lots first, each in one piece, then of the rest.

    The largest are first: an idle worker takes from the end of what another has left, and is not to find a part of a lot there.
    """
    first = sorted(lots, key=len, reverse=True)
    left, total = iter(rest), sum(map(len, lots)) + len(rest)
    found: list[T] = []
    for worker in range(workers):
        found += [item for lot in first[worker::workers] for item in lot]
        found += islice(left, max(0, total * (worker + 1) // workers - len(found)))
    return [*found, *left]
