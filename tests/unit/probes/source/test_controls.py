"""What controls show: loss, bans, and which copies are known to have got out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes.packets.route import Route
from probes.source.cell import ControlKey
from probes.source.controls import IN_FLIGHT_S, LEAST_EACH, Controls, Key, Series
from reachability.loss import upper_bound
from reachability.vocabulary import ControlKind, Protocol

ROUTE = Route("eth0", "10.10.0.1", "10.10.0.10", b"")
KEY = Key("10.10.0.10", "eth0 10.10.0.1", ControlKey(Protocol.TCP, 4))
END = 1000.0


def series(pattern: str, kind: str = ControlKind.COORDINATOR, address: str = "10.0.0.10", start: float = 0.0) -> Series:
    """A packet a second: `+` answered, `-` not."""
    made = Series(address, Protocol.TCP, 8883, kind, ROUTE)
    made.sent = [start + index for index in range(len(pattern))]
    made.answered = {index: start + index + 0.001 for index, mark in enumerate(pattern) if mark == "+"}
    return made


def controls(*all_of: Series, now: float = END) -> Controls:
    made = Controls(now=lambda: now)
    for each in all_of:
        made.add(each)
    return made


def test_nothing_answered_is_no_measurement() -> None:
    assert controls(series("----")).loss() is None
    assert controls().loss() is None


def test_loss_is_an_upper_bound() -> None:
    few, many = controls(series("+" * 10)).loss(), controls(series("+" * 1000)).loss()
    lossy = controls(series("+-" * 50)).loss()
    assert few is not None
    assert many is not None
    assert lossy is not None
    assert 0.001 <= many < few < 0.5 < lossy


def test_what_a_clean_host_or_protocol_tells_does_not_hide_the_loss_of_another() -> None:
    """Its own share is a tenth of all packets, in which it would be lost."""
    good, clean = series("+" * 500), series("+" * 300, ControlKind.PAIR, "10.30.0.10")
    lossy = series("+--+-" * 16, ControlKind.PAIR, "10.30.0.11")
    assert controls(good, clean, lossy).loss() == upper_bound(80, 48)
    echoes = series("+" * 500)
    echoes.protocol = Protocol.ICMP
    assert controls(echoes, lossy).loss() == upper_bound(80, 48)
    udp = series("+" * 20)
    udp.protocol = Protocol.UDP
    assert controls(good, udp).loss() == upper_bound(520, 0), "nothing tells them apart"


def test_every_control_is_asked_often_enough_to_tell_of_its_own_host() -> None:
    few = controls(series("+" * 10), series("+", ControlKind.PAIR, "10.30.0.10"))
    assert few.lacking(48) == 37
    many = controls(*(series("+", ControlKind.PAIR, f"10.30.0.{n}") for n in range(1, 21)))
    assert many.lacking(48) == 20 * LEAST_EACH - 20
    assert controls(series("-" * 100), series("+")).lacking(48) < 0


def test_a_ban_is_no_loss_and_covers_nothing_after_it() -> None:
    banned = controls(series("+" * 50 + "-" * 50))
    loss = banned.loss()
    assert loss is not None
    assert loss < 0.1
    covers = banned.coverage().covers
    assert covers(KEY, "10.30.0.21", 20.0)
    assert not covers(KEY, "10.30.0.21", 60.0), "after the last good control"
    assert banned.stopped() == banned.series


def test_what_is_still_in_flight_is_not_missed() -> None:
    flying = controls(series("+" * 20 + "-"), now=20.0 + IN_FLIGHT_S / 2).loss()
    assert flying == controls(series("+" * 20)).loss()
    assert flying != controls(series("+" * 20 + "-"), now=20.0 + IN_FLIGHT_S * 2).loss()


def test_a_pair_that_stopped_answering_outweighs_a_good_control_elsewhere() -> None:
    good = series("+" * 100)
    pair = series("+" + "-" * 40, ControlKind.PAIR, "10.30.0.21", start=10.0)
    covers = controls(good, pair).coverage().covers
    assert covers(KEY, "10.30.0.21", 5.0)
    assert not covers(KEY, "10.30.0.21", 30.0)
    assert not covers(KEY, "10.30.0.22", 30.0), "a ban is between two, and this is their pair too"


def test_a_pair_that_answers_shows_no_more_than_that_there_is_no_ban() -> None:
    pair = series("+" * 40, ControlKind.PAIR, "10.30.0.21")
    assert not controls(pair).coverage().covers(KEY, "10.30.0.21", 5.0), "a middlebox on this side may answer"


def test_a_control_of_another_way_or_protocol_says_nothing() -> None:
    covers = controls(series("+" * 40)).coverage().covers
    assert covers(KEY, "10.30.0.21", 5.0)
    for other in (
        KEY._replace(source_address="10.10.0.11"),
        KEY._replace(via="eth1 10.10.0.2"),
        KEY._replace(kind=ControlKey(Protocol.UDP, 4)),
        KEY._replace(kind=ControlKey(Protocol.TCP, 6)),
    ):
        assert not covers(other, "10.30.0.21", 5.0)


@given(st.lists(st.text(alphabet="+-", min_size=1, max_size=60), min_size=1, max_size=4), st.floats(0, 70))
def test_any_history_gives_a_loss_between_none_and_all(patterns: list[str], now: float) -> None:
    made = controls(*(series(text, address=f"10.0.0.{i}") for i, text in enumerate(patterns)), now=now)
    loss = made.loss()
    assert loss is None or 0 < loss <= 1
    assert made.results(now)
    made.coverage().covers(KEY, "10.30.0.21", now / 2)


@given(
    st.lists(st.tuples(st.text(alphabet="+-", min_size=1, max_size=60), st.booleans()), min_size=1, max_size=4),
    st.lists(st.tuples(st.floats(0, 60), st.floats(0, 9)), max_size=2),
    st.lists(st.one_of(st.integers(-1, 62), st.floats(-1, 62)), max_size=40),
)
def test_many_moments_are_covered_as_each_of_them_is(
    patterns: list[tuple[str, bool]], void: list[tuple[float, float]], times: list[float]
) -> None:
    made = controls(
        *(
            series(text, ControlKind.PAIR if pair else ControlKind.COORDINATOR, f"10.30.0.{i}")
            for i, (text, pair) in enumerate(patterns)
        )
    )
    made.void += [(began, began + took) for began, took in void]
    coverage = made.coverage()
    each = coverage.covers_each(KEY, "10.30.0.1", np.array(times, np.float64))
    assert each.tolist() == [coverage.covers(KEY, "10.30.0.1", at) for at in times]


def test_a_control_that_loses_half_of_its_packets_all_the_time_is_not_banned() -> None:
    """A firewall that rewrites sequence numbers may let every second answer through: rows of misses are usual there."""
    series = Series("10.30.0.10", Protocol.TCP, 8000, ControlKind.PAIR, ROUTE)
    pattern = "101101000001011010001101"
    series.sent = [float(n) for n in range(len(pattern))]
    series.answered = {n: n + 0.1 for n, answered in enumerate(pattern) if answered == "1"}
    assert list(series.rows(4, 1000.0, ())) == []


def test_a_control_that_stopped_is_banned_whatever_it_lost_before() -> None:
    series = Series("10.30.0.10", Protocol.TCP, 8000, ControlKind.PAIR, ROUTE)
    series.sent = [float(n) for n in range(30)]
    series.answered = {n: n + 0.1 for n in range(20) if n not in {4, 11}}
    assert list(series.rows(4, 1000.0, ())) == [range(20, 30)]
    series.answered = {n: n + 0.1 for n in range(25)}
    assert list(series.rows(4, 1000.0, ())) == [range(25, 30)]


def test_what_was_sent_too_fast_counts_for_nothing() -> None:
    made = controls(series("+-" * 10 + "+" * 80))
    with_it = made.loss()
    made.void.append((0.0, 19.5))
    covers = made.coverage().covers
    assert not covers(KEY, "10.30.0.21", 0.0)
    assert not covers(KEY, "10.30.0.21", 19.0)
    assert covers(KEY, "10.30.0.21", 21.0)
    assert made.loss() == controls(series("+" * 80)).loss() != with_it
    [result] = made.results(0.0)
    assert (result.sent, result.answered) == (80, 80)


def test_a_pair_that_loses_more_counts_alone() -> None:
    pair = series("+-" * 40, ControlKind.PAIR, "10.30.0.21")
    assert controls(series("+" * 2000), pair).loss() == controls(pair).loss()


def test_misses_of_a_time_that_counts_for_nothing_are_no_ban() -> None:
    """A pass that went too fast lost most of its controls in long rows: what follows it must not be given up."""
    made = controls(series("+" * 10 + "-" * 30 + "+-" + "-" * 20 + "+" * 10))
    assert made.loss() is not None
    assert not made.coverage().covers(KEY, "10.30.0.21", 35.0)
    made.void.append((9.5, 61.5))
    assert made.stopped() == []
    assert made.loss() == controls(series("+" * 20)).loss()
    assert made.coverage().covers(KEY, "10.30.0.21", 65.0)
    assert not made.coverage().covers(KEY, "10.30.0.21", 35.0)
    late = controls(series("+" * 10 + "-" * 40))
    late.void.append((9.5, 30.5))
    assert late.stopped() == late.series, "nothing came after it either"
    late.void[0] = (9.5, 49.5)
    assert late.stopped() == []


def test_a_row_that_ends_in_a_time_that_counts_for_nothing_ends_with_the_next_good_packet() -> None:
    made = controls(series("+" * 20 + "-" * 10 + "-" * 10 + "+" * 20))
    made.void.append((29.5, 39.5))
    assert made.stopped() == []
    assert not made.coverage().covers(KEY, "10.30.0.21", 25.0)
    assert made.coverage().covers(KEY, "10.30.0.21", 45.0)


def test_an_endpoint_that_answers_by_one_of_several_ways_is_not_banned_on_the_others() -> None:
    """All of them got the copy that was answered first; whichever it was goes on answering."""
    other = Route("eth0", "10.10.0.2", "10.10.0.10", b"")
    good = series("+" * 100)
    here, there = (series("+" + marks, ControlKind.PAIR, "10.30.0.21", start=10.0) for marks in ("-" * 40, "+" * 40))
    there.route = other
    assert controls(good, here, there).coverage().covers(KEY, "10.30.0.21", 30.0)
    there.answered = {0: 10.001}
    assert not controls(good, here, there).coverage().covers(KEY, "10.30.0.21", 30.0), "by none of them: that is a ban"
