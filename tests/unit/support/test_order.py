"""The order in which tests are given to workers."""

from __future__ import annotations

import pytest

from tests.support.order import dealt

LOTS = (("long 1",), ("a 1", "a 2", "a 3"), ("long 2",), ("long 3",), ("b 1", "b 2"))
REST = tuple(f"rest {number}" for number in range(16))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_each_share_begins_with_what_takes_long_and_no_lot_is_in_two(workers: int) -> None:
    order = dealt(LOTS, REST, workers)
    assert sorted(order) == sorted([*(item for lot in LOTS for item in lot), *REST])
    bounds = [len(order) * worker // workers for worker in range(workers + 1)]
    shares = [order[low:high] for low, high in zip(bounds, bounds[1:], strict=False)]
    assert not any(share[0].startswith("rest") for share in shares)
    for lot in LOTS:
        [share] = [share for share in shares if lot[0] in share]
        at = share.index(lot[0])
        assert tuple(share[at : at + len(lot)]) == lot
        smaller = ("rest", "long") if len(lot) > 1 else ("rest",)
        assert not any(item.startswith(smaller) for item in share[:at]), "nobody takes it away from there"


def test_nothing_is_lost_where_lots_are_larger_than_a_share() -> None:
    assert sorted(dealt([range(10), range(10, 12)], range(12, 14), 3)) == list(range(14))
