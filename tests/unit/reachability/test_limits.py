"""How large a leak a green cell could have missed."""

from __future__ import annotations

import random

import pytest

from reachability.limits import Limits, hidden_share, limits, weakest
from reachability.verdict import Evidence, Verdict
from reachability.vocabulary import Protocol, Reachability

BLOCKED = Verdict(reachability=Reachability.BLOCKED)


def test_only_a_green_cell_has_limits() -> None:
    e = Evidence(protocol=Protocol.TCP, sent=6, covered=6, flows=6, span_s=4.2, loss=0.01)
    assert limits(Verdict(reachability=Reachability.UNKNOWN), e) is None
    assert limits(Verdict(reachability=Reachability.REACHABLE), e) is None
    assert limits(BLOCKED, e) == Limits(6, 4.2, 0.01, hidden_share(6, 0.01))


def test_only_copies_that_count_are_flows_that_were_tried() -> None:
    found = limits(BLOCKED, Evidence(protocol=Protocol.TCP, sent=6, covered=4, flows=6))
    assert found is not None
    assert (found.flows, found.seconds, found.loss) == (4, None, None)
    uncounted = limits(BLOCKED, Evidence(protocol=Protocol.TCP, sent=6, covered=0, flows=6))
    assert uncounted is not None
    assert uncounted.flows == 6
    nothing = limits(BLOCKED, Evidence(protocol=Protocol.TCP))
    assert nothing is not None
    assert nothing.flows == 1
    assert nothing.share == pytest.approx(0.95)


@pytest.mark.parametrize(("flows", "loss"), [(1, 0.0), (4, 0.1), (6, 0.01), (48, 0.4)])
def test_a_leak_of_that_share_is_missed_one_time_in_twenty(flows: int, loss: float) -> None:
    share = hidden_share(flows, loss)
    if share >= 1.0:
        return
    assert (1 - share * (1 - loss)) ** flows == pytest.approx(0.05)
    rng, missed = random.Random(flows), 0
    for _ in range(20_000):
        missed += all(rng.random() >= share or rng.random() < loss for _ in range(flows))
    assert missed / 20_000 == pytest.approx(0.05, abs=0.01)


def test_where_few_flows_or_none_get_through_the_loss_any_leak_may_hide() -> None:
    assert hidden_share(1, 0.5) == 1.0
    assert hidden_share(10, 1.0) == 1.0


def test_of_many_the_weakest_holds_for_all() -> None:
    assert weakest([]) is None
    assert weakest([Limits(6, 4.2, 0.01, 0.4), Limits(4, None, None, 0.6), Limits(9, 3.9, 0.2, 0.3)]) == Limits(
        4, 3.9, 0.2, 0.6
    )
