"""When the copies of a cell leave: over how long a time, as the source tells it."""

from __future__ import annotations

import pytest

from probes.packets.parse import Packet
from probes.source.cycle import Source
from probes.sweep.raw import SweepSource
from reachability.observation import ControlTarget
from reachability.vocabulary import Protocol
from tests.support.network import END, about, play, target
from tests.support.virtual import START

OUTSIDE = ControlTarget(address="10.0.0.1", protocol=Protocol.TCP, port=8883)


def outside_answers(packet: Packet) -> float | None:
    return None if packet.destination == END else 0.0004


@pytest.mark.parametrize("kind", [Source, SweepSource])
def test_a_report_says_when_the_first_and_the_last_copy_left(kind: type[Source]) -> None:
    """Of ports that look alike what is true of each: from the latest of their first copies to the earliest of their last."""
    ran = play(outside_answers, kind=kind, targets=(target("1-300"),), controls=(OUTSIDE,), agent_pps=1000)
    (seen,) = ran.report.observations
    times = [ran.at(port) for port in range(1, 301)]
    assert seen.first_at is not None
    assert seen.last_at is not None
    assert seen.first_at - START == about(max(each[0] for each in times))
    assert seen.last_at - START == about(min(each[-1] for each in times))


@pytest.mark.parametrize("kind", [Source, SweepSource])
def test_copies_that_count_for_nothing_make_it_no_longer(kind: type[Source]) -> None:
    """From the fourth second on nothing gets out any more."""
    began: list[float] = []

    def answers(packet: Packet) -> float | None:
        began.append(packet.at)
        return outside_answers(packet) if packet.at - began[0] < 0.35 else None

    ran = play(answers, kind=kind, targets=(target("1-100"),), controls=(OUTSIDE,), agent_pps=1000)
    (*_, seen) = sorted(ran.report.observations, key=lambda o: o.covered)
    assert 0 < seen.covered < seen.sent
    assert seen.last_at is not None
    assert seen.last_at - START < 0.36


@pytest.mark.parametrize("kind", [Source, SweepSource])
def test_what_was_not_sent_has_no_times(kind: type[Source]) -> None:
    ran = play(kind=kind, targets=(target("1-300", address="no.such.name"),))
    assert {(o.first_at, o.last_at) for o in ran.report.observations} == {(None, None)}


def test_a_quick_sweep_waits_once_before_its_last_pass() -> None:
    ran = play(
        outside_answers, kind=SweepSource, targets=(target("1-300"),), copies=3, controls=(OUTSIDE,), spread_s=4.0
    )
    (seen,) = ran.report.observations
    times = [ran.at(port) for port in range(1, 301)]
    assert min(each[-1] - each[0] for each in times) >= 4.0
    assert ran.ended < 4.0 + 2.0, "once"


def test_a_sweep_that_took_long_enough_waits_for_nothing() -> None:
    plain, spread = (
        play(
            outside_answers, kind=SweepSource, targets=(target("1-5000"),), copies=3, agent_pps=1000,
            controls=(OUTSIDE,), spread_s=spread_s,
        )
        for spread_s in (0.0, 4.0)
    )  # fmt: skip
    assert spread.ended == pytest.approx(plain.ended, rel=0.1)


def test_a_sweep_of_which_all_is_known_waits_for_nothing() -> None:
    ran = play(lambda _: 0.0004, kind=SweepSource, targets=(target("1-300"),), copies=3, spread_s=4.0)
    assert ran.ended < 1.0
