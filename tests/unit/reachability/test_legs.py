"""Over how many flows silence must hold, where traces show that several legs lead there."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from reachability.evidence import conclude
from reachability.legs import MOST_FLOWS, flows_needed
from reachability.observation import Observation
from reachability.ports import ICMP_CELL, PortSet
from reachability.round_data import RoundData
from reachability.vocabulary import Protocol, RoundKind, Schedule, State
from tests.support.round_data import PROD, TCP, data, silence, source, verdicts, witness


@pytest.mark.parametrize(
    ("legs", "loss", "needed"), [(1, 0.0, 1), (1, 0.001, 1), (2, 0.001, 7), (8, 0.001, 35), (8, 0.2, 44)]
)
def test_as_many_flows_as_do_not_miss_the_leg_that_leaks(legs: int, loss: float, needed: int) -> None:
    assert flows_needed(legs, loss) == needed
    rng = random.Random(legs)
    missed = sum(all(rng.randrange(legs) or rng.random() < loss for _ in range(needed)) for _ in range(20_000))
    assert missed / 20_000 < 0.014


@pytest.mark.parametrize(("legs", "loss"), [(16, 0.0), (2, 1.0), (1000, 0.5)])
def test_more_are_not_sent(legs: int, loss: float) -> None:
    assert flows_needed(legs, loss) == MOST_FLOWS


def several(*seen: Observation, legs: int = 8, schedule: Schedule = Schedule.CYCLE, **changes: Any) -> RoundData:
    """A round, of whose path to the host traces show so many legs."""
    src = source(*seen, legs={PROD: legs})
    made = data(TCP, src=src, **({"wit": (witness(),)} | changes))
    return replace(made, spec=replace(made.spec, schedule=schedule))


def reasons(*rounds: RoundData, pending: bool = False) -> dict[str, str]:
    result = conclude(rounds, pending=pending)
    return {ports: verdict.reason for ports, (verdict, _) in verdicts(result).items()}


def test_what_is_silent_is_tried_over_more_flows_before_it_is_green() -> None:
    assert reasons(several(silence())) == {"1-100": "legs"}
    assert reasons(several(silence()), pending=True) == {}, "it stays what it was until then"
    (again,) = conclude([several(silence())]).followups
    assert (again.kind, again.copies, again.rate_pps, again.wait_s) == (RoundKind.NORMAL, 35 - 4 + 7, None, 0.0)
    assert [str(t.ports) for t in again.targets] == ["1-100"]
    more = silence(sent=38, covered=31, flows=38)
    assert reasons(several(silence()), several(more)) == {"1-100": "no-response"}


def test_what_was_tried_over_as_many_as_could_be_is_green_and_says_how_many() -> None:
    few = several(silence(sent=5, covered=5, flows=5))
    ((verdict, e),) = verdicts(conclude([several(silence()), few])).values()
    assert (verdict.green, e.flows) == (True, 9)


def test_one_leg_asks_for_nothing_more() -> None:
    assert reasons(several(silence(), legs=1)) == {"1-100": "no-response"}
    assert not conclude([several(silence(), legs=1)]).followups


def test_a_sweep_says_over_how_many_flows_it_holds() -> None:
    assert reasons(several(silence(), schedule=Schedule.SWEEP)) == {"1-100": "no-response"}


def test_an_echo_has_no_flows() -> None:
    target = replace(TCP, protocol=Protocol.ICMP, ports=ICMP_CELL)
    made = data(target, src=source(silence(target), legs={PROD: 8}), wit=(witness(),))
    cycle = replace(made, spec=replace(made.spec, schedule=Schedule.CYCLE))
    assert "legs" not in reasons(cycle).values()


def test_what_is_open_or_unknown_waits_for_no_flows() -> None:
    assert reasons(several(silence(state=State.OPEN))) == {"1-100": "answered-elsewhere"}
    assert reasons(several(silence(covered=0))) != {"1-100": "legs"}


@pytest.mark.parametrize(
    ("run", "count", "copies"),
    [("", 100, 38), ("", 500, 10), ("", 5001, 0), ("V1", 500, 38), ("V1", 1000, 20), ("V1", 20_001, 0)],
)
def test_many_cells_have_fewer_flows_and_too_many_none(run: str, count: int, copies: int) -> None:
    """A schedule has to keep its period; a verify run takes its time."""
    target = replace(TCP, ports=PortSet.parse(f"1-{count}"))
    made = data(target, src=source(silence(target), legs={PROD: 8}), wit=(witness(),))
    result = conclude([replace(made, spec=replace(made.spec, run=run))])
    assert [f.copies for f in result.followups] == [copies][: bool(copies)]
