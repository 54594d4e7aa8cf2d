"""The rate falls where that helps, and only there."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from probes.sweep.pace import LEAST_PPS, Change, Pace

MOST = 100_000


def test_without_loss_it_stays() -> None:
    pace = Pace(MOST)
    assert {pace.passed(100, lost, 200_000) for lost in (0, 1, 0, 2)} == {Change.NONE}
    assert pace.rate == MOST


def test_nothing_measured_changes_nothing() -> None:
    pace = Pace(MOST)
    assert pace.passed(0, 0, 200_000) is Change.NONE
    assert pace.rate == MOST


def test_it_falls_to_what_was_carried() -> None:
    pace = Pace(MOST)
    assert pace.passed(100, 95, 200_000) is Change.FELL  # 10,000 a second came through
    assert pace.rate == 10_000
    assert pace.passed(100, 0, 10_000) is Change.NONE
    assert pace.rate == 10_000


def test_it_falls_by_half_for_a_little_loss() -> None:
    pace = Pace(MOST)
    assert pace.passed(500, 50, 300_000) is Change.FELL
    assert pace.rate == MOST // 2
    assert pace.passed(500, 20, 50_000) is Change.FELL
    assert pace.rate == MOST // 4


def test_random_loss_gives_the_pace_back() -> None:
    pace = Pace(MOST)
    assert pace.passed(300, 30, 300_000) is Change.FELL
    assert pace.passed(300, 31, 50_000) is Change.RESTORED
    assert pace.rate == MOST
    assert pace.passed(300, 40, MOST) is Change.NONE  # and it is settled
    assert pace.rate == MOST


def test_a_slow_agent_is_never_asked_for_more() -> None:
    pace = Pace(300)
    assert pace.passed(100, 90, 300) is Change.FELL
    assert pace.rate == 300


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500), st.floats(1, 1e6)), max_size=30), st.integers(1, 10**6)
)
def test_it_keeps_within_its_bounds(passes: list[tuple[int, int, float]], most: int) -> None:
    pace = Pace(most)
    for sent, lost, pps in passes:
        before = pace.rate
        change = pace.passed(sent, min(sent, lost), pps)
        assert min(LEAST_PPS, most) <= pace.rate <= most
        assert {Change.FELL: pace.rate <= before, Change.RESTORED: pace.rate == most, Change.NONE: pace.rate == before}[
            change
        ]


@given(st.integers(0, 2**32), st.integers(1000, 80_000))
def test_a_path_that_carries_so_much_is_found(seed: int, carries: int) -> None:
    """Through a bottleneck a few passes find a rate at which little is lost."""
    rng, pace, pps = random.Random(seed), Pace(MOST), 300_000.0
    for _ in range(8):
        share = max(0.0, 1 - carries / pps)
        lost = sum(rng.random() < share for _ in range(300))
        pace.passed(300, lost, pps)
        pps = float(pace.rate)
    assert pps <= 1.1 * carries or pps == LEAST_PPS
