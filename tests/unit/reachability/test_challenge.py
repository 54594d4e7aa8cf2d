"""Whose packets are these, and how many copies rule out that loss hides an open port."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachability.arrival import Untokened
from reachability.challenge import A_SLOT, HIDDEN, Challenged, is_hidden_by, ours
from reachability.loss import LEAST_LOSS, MOST_MISSED, copies_needed, lower_bound, upper_bound, worst
from reachability.vocabulary import Protocol

SEEN, NOT_SEEN, UNDECIDED = Challenged.SEEN, Challenged.NOT_SEEN, Challenged.UNDECIDED
SLOTS = (1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0)
SLOT_MS = 150.0


def flow(times: list[int], came_from: str = "10.10.0.10", port: int = 40000) -> Untokened:
    return Untokened(
        address="10.30.0.10",
        protocol=Protocol.TCP,
        port=443,
        came_from=came_from,
        source_port=port,
        count=len(times),
        times_ms=tuple(times),
    )


def filling(offset: int = 700, keep: float = 1.0, seed: int = 1) -> list[int]:
    """Two packets in every on-slot, as the source sends them."""
    rng = random.Random(seed)
    times = [
        int(offset + index * SLOT_MS + share * SLOT_MS)
        for index, on in enumerate(SLOTS)
        if on
        for share in (0.1, 0.5)
        if rng.random() < keep
    ]
    return sorted(times)


@pytest.mark.parametrize("offset", [0, 33, 700, 1501])
def test_packets_that_fill_the_on_slots_and_leave_the_others_are_ours(offset: int) -> None:
    assert ours(SLOTS, SLOT_MS, [flow(filling(offset))]) == SEEN


def test_nothing_is_not_seen_and_no_slots_decide_nothing() -> None:
    assert ours(SLOTS, SLOT_MS, []) == NOT_SEEN
    assert ours((), 0.0, [flow(filling())]) == UNDECIDED


def test_ours_are_found_beside_a_busy_flow_and_never_denied_among_many() -> None:
    def noise(count: int) -> list[Untokened]:
        return [flow(list(range(0, 3000, 9)), "10.20.0.21", 50000 + n) for n in range(count)]

    assert ours(SLOTS, SLOT_MS, [*noise(1), flow(filling())]) == SEEN
    assert ours(SLOTS, SLOT_MS, [*noise(9), flow(filling())]) in {SEEN, UNDECIDED}, "one of ten might fit by chance"


def test_a_crowd_of_small_flows_hides_nothing_and_is_not_ours() -> None:
    times = tuple(range(0, int(len(SLOTS) * SLOT_MS), 10))
    crowd = Untokened(
        address="10.30.0.10", protocol=Protocol.TCP, port=22, came_from="10.20.0.21", source_port=0, count=len(times),
        times_ms=times, flows=len(times), largest=1,
    )  # fmt: skip
    assert ours(SLOTS, SLOT_MS, [crowd]) == NOT_SEEN
    assert ours(SLOTS, SLOT_MS, [crowd, flow(filling())]) == SEEN
    assert ours(SLOTS, SLOT_MS, [replace(crowd, largest=sum(SLOTS))]) == UNDECIDED, "one of them might be ours"


def test_others_alone_are_not_ours() -> None:
    single = [flow([17 * n], "10.20.0.21", 50000 + n) for n in range(1, 170)]
    assert ours(SLOTS, SLOT_MS, single) in {NOT_SEEN, UNDECIDED}
    assert ours(SLOTS, SLOT_MS, [flow([1200], "10.20.0.21")]) == NOT_SEEN


@given(st.lists(st.integers(0, 4000), min_size=1, max_size=60), st.integers(0, 2**32))
def test_traffic_that_knows_no_key_is_never_taken_for_ours(times: list[int], seed: int) -> None:
    """The pattern is drawn after the traffic: over many draws a chance match stays below one in a hundred."""
    rng = random.Random(seed)
    hits = 0
    for _ in range(40):
        slots = [1] * 8 + [0] * 8
        rng.shuffle(slots)
        hits += ours(tuple(slots), SLOT_MS, [flow(sorted(times))]) == SEEN
    assert hits <= 2


def test_some_loss_leaves_ours_seen_or_undecided_never_not_seen() -> None:
    for seed in range(20):
        assert ours(SLOTS, SLOT_MS, [flow(filling(keep=0.75, seed=seed))]) in {SEEN, UNDECIDED}


def test_how_much_loss_a_challenge_stands() -> None:
    assert is_hidden_by(None, 10)
    assert not is_hidden_by(0.25, 10)
    assert is_hidden_by(0.35, 10)
    rng = random.Random(3)
    fewest = min(
        len({at for at in range(10) for _ in range(A_SLOT) if rng.random() >= 0.25}) for _ in range(5000)
    )  # on-slots filled
    assert fewest >= HIDDEN * 10


@given(st.integers(1, 10_000), st.data())
def test_the_bound_lies_above_what_was_measured(sent: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, sent))
    bound = upper_bound(sent, lost)
    assert bound is not None
    assert max(LEAST_LOSS, lost / sent) - 1e-9 <= bound <= 1.0


def test_nothing_sent_measures_nothing() -> None:
    assert upper_bound(0, 0) is None


@given(st.integers(1, 200_000), st.floats(0.001, 0.999))
def test_copies_leave_less_than_one_in_a_hundred_missed(silent: int, loss: float) -> None:
    copies = copies_needed(silent, loss)
    if copies is None:
        assert silent * loss**64 > MOST_MISSED * 0.99
        return
    assert silent * loss**copies <= MOST_MISSED * 1.001
    assert copies == 1 or silent * loss ** (copies - 1) > MOST_MISSED * 0.999


def test_everything_lost_cannot_be_made_up_for() -> None:
    assert copies_needed(10, 1.0) is None
    assert copies_needed(0, 1.0) == 1


@given(st.integers(1, 10_000), st.data())
def test_the_bound_from_below_lies_below_what_was_measured(sent: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, sent))
    assert 0.0 <= lower_bound(sent, lost) <= lost / sent + 1e-9
    assert lower_bound(0, 0) == 0.0


def test_groups_that_do_not_differ_are_one_measurement() -> None:
    assert worst([(1000, 100), (50, 6), (20, 1)]) == upper_bound(1070, 107)
    assert worst([]) is None
    assert worst([(0, 0)]) is None


def test_what_goes_elsewhere_does_not_speak_for_the_pair() -> None:
    """Fifteen hundred good controls to the coordinator, and half of what goes to the pair is lost."""
    assert worst([(1500, 0), (0, 0), (300, 150)]) == upper_bound(300, 150)
    assert worst([(1500, 0), (100, 40), (300, 150)]) == upper_bound(300, 150)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=4))
def test_the_worst_is_never_better_than_all_together(groups: list[tuple[int, int]]) -> None:
    groups = [(sent, min(sent, lost)) for sent, lost in groups]
    bound, together = worst(groups), upper_bound(sum(s for s, _ in groups), sum(lost for _, lost in groups))
    assert (bound is None) is (together is None)
    assert bound is None or together is None or together <= bound <= 1.0
