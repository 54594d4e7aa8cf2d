"""Over how long a time copies must have left, so that a short outage cannot have taken them all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reachability.arrival import ArrivalRow
from reachability.evidence import conclude
from reachability.observation import Observation
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.spread import span_s
from reachability.verdict import judge
from reachability.vocabulary import Protocol, Reachability, Reason, RoundKind, State
from tests.support.round_data import DEV, PROD, TCP, data, silence, source, verdicts, witness

SPREAD_S = 4.0


def timed(first: float | None, last: float | None, **changes: Any) -> Observation:
    return silence(first_at=first, last_at=last, **changes)


def spread(*seen: Observation, **changes: Any) -> RoundData:
    """A round of which the copies of silent cells must have left over four seconds."""
    made = data(TCP, src=source(*seen), **({"wit": (witness(),)} | changes))
    return replace(made, spec=replace(made.spec, spread_s=SPREAD_S))


def reasons(*rounds: RoundData, pending: bool = False) -> dict[str, str]:
    result = conclude(rounds, pending=pending)
    return {ports: verdict.reason for ports, (verdict, _) in verdicts(result).items()}


@pytest.mark.parametrize(
    ("first", "last", "proven"),
    [(10.0, 11.0, False), (10.0, 13.5, False), (10.0, 13.7, True), (10.0, 70.0, True), (None, None, False)],
)
def test_silence_of_a_moment_proves_nothing(first: float | None, last: float | None, proven: bool) -> None:  # noqa: FBT001
    (verdict, evidence) = verdicts(conclude([spread(timed(first, last))]))["1-100"]
    assert verdict.green is proven
    assert verdict.reason == ("no-response" if proven else "spread")
    assert evidence.span_s == (None if first is None or last is None else pytest.approx(last - first))


def test_a_round_of_which_nothing_is_asked_is_judged_as_it_stands() -> None:
    """As one that an older coordinator kept."""
    made = data(TCP, src=source(silence()), wit=(witness(),))
    assert reasons(made) == {"1-100": "no-response"}


def test_what_was_silent_for_a_moment_is_tried_again_after_the_rest_of_the_spread() -> None:
    (again,) = conclude([spread(timed(10.0, 11.5))]).followups
    assert again.kind is RoundKind.NORMAL
    assert (again.copies, again.rate_pps) == (2, None)
    assert again.wait_s == pytest.approx(2.5)
    assert [str(t.ports) for t in again.targets] == ["1-100"]


def test_what_is_to_be_tried_again_is_left_out_until_it_was() -> None:
    """So that no cell that was green is unknown for some seconds of every cycle."""
    brief, known = timed(10.0, 11.0, ports="1-99"), timed(10.0, 15.0, ports="100")
    assert reasons(spread(brief, known), pending=True) == {"100": "no-response"}
    assert reasons(spread(brief, known)) == {"1-99": "spread", "100": "no-response"}


def test_both_rounds_together_are_long_enough() -> None:
    main, again = spread(timed(10.0, 11.0)), spread(timed(14.2, 14.4))
    (verdict, evidence) = verdicts(conclude([main, again]))["1-100"]
    assert verdict.reachability is Reachability.BLOCKED
    assert evidence.span_s == pytest.approx(4.4)


def test_an_outage_that_took_the_first_round_makes_nothing_green() -> None:
    row = ArrivalRow(
        target=1,
        address=PROD,
        protocol=Protocol.TCP,
        ports=PortSet.parse("22"),
        copies=2,
        last_copy=1,
        answered=True,
        came_from=DEV,
    )
    main = spread(timed(10.0, 11.0))
    again = spread(timed(14.2, 14.4, ports="1-21,23-100"), timed(14.2, 14.4, ports="22"), wit=(witness(row),))
    found = verdicts(conclude([main, again]))
    assert found["22"][0].reachability is Reachability.ONE_WAY
    opened = replace(again, source=source(timed(14.2, 14.4, ports="22", state=State.OPEN, reason=Reason.SYN_ACK)))
    assert verdicts(conclude([main, opened]))["22"][0].reachability is Reachability.REACHABLE


def test_copies_that_count_for_nothing_make_it_no_longer() -> None:
    """Of the second round none was covered: a ban, or a link that went down."""
    assert span_s([timed(10.0, 11.0), timed(14.2, 14.4, covered=0)]) == pytest.approx(1.0)
    assert span_s([timed(10.0, 11.0, covered=0), timed(14.2, 14.4, covered=0)]) == pytest.approx(4.4)


def test_a_clock_that_began_anew_is_not_measured_across() -> None:
    assert span_s([timed(1000.0, 1001.0), timed(3.0, 3.5)]) == pytest.approx(1.0)
    assert span_s([timed(1000.0, 999.0)]) == 0.0, "over many ports the latest first may be after the earliest last"
    assert span_s([timed(None, None)]) is None
    assert span_s([]) is None


def test_what_is_green_by_no_silence_needs_no_time() -> None:
    reset = timed(10.0, 10.1, state=State.CLOSED, reason=Reason.RESET, hops=0)
    assert reasons(spread(reset)) == {"1-100": "reset"}


def test_what_is_unproven_anyway_is_not_tried_again_for_it() -> None:
    alone = replace(TCP, witness="")
    made = data(alone, src=source(timed(10.0, 10.1)))
    result = conclude([replace(made, spec=replace(made.spec, spread_s=SPREAD_S))])
    assert result.followups == ()
    assert [judge(e).reason for _, _, e in result.cells] == ["no-inside-control"]


def test_copies_for_the_loss_and_for_the_spread_are_one_round() -> None:
    lossy = timed(10.0, 11.0, ports="1-50", sent=1, covered=1, flows=1)
    (again,) = conclude([spread(lossy, timed(10.0, 11.0, ports="51-100"))]).followups
    assert [str(t.ports) for t in again.targets] == ["1-100"]
    assert again.wait_s == pytest.approx(3.0)


def test_it_is_not_tried_for_ever() -> None:
    rounds = [spread(timed(10.0, 11.0)) for _ in range(3)]
    assert conclude(rounds[:2]).followups
    assert conclude(rounds).followups == ()
