"""What would settle a cell: a word where nothing is proven, none where something is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reachability.advice import ADVICE, advise
from reachability.compare import Cell
from reachability.verdict import Verdict
from reachability.vocabulary import Declared, Reachability, Reason, Result, Schedule, Unproven
from tests.support.finding_cells import cell


def undecided(reachability: Reachability, reason: str = "", *, required: bool = True, **more: Declared) -> Cell:
    made = cell("22", Result.INCONCLUSIVE, **more)
    assert made.judged is not None
    verdict = Verdict(reachability=reachability, reason=reason)
    return replace(made, required=required, judged=replace(made.judged, verdict=verdict))


def means(made: Cell) -> str:
    advice = advise(made)
    assert advice is not None
    return advice.means


@pytest.mark.parametrize("result", [Result.PASS, Result.FAIL, Result.WAIVED])
def test_what_is_green_or_red_has_nothing_left_to_settle(result: Result) -> None:
    assert advise(cell("22", result)) is None


def test_what_nobody_tried_waits_for_the_schedule_that_covers_it() -> None:
    assert means(cell("22", Result.NOT_RUN)) == "no round has tried it"
    assert means(cell("22", Result.NOT_RUN, schedule=Schedule.SWEEP)) == "no sweep has tried it"


def test_what_is_stale_is_not_said_by_the_verdict_of_then() -> None:
    assert means(cell("22", Result.STALE)) == "nothing has been heard of it for three periods"


@pytest.mark.parametrize("reason", ["loss", "silent-inside", "no-source-control"])
def test_what_is_not_proven_is_told_by_its_reason(reason: str) -> None:
    assert advise(undecided(Reachability.UNKNOWN, reason)) == ADVICE[reason]


def test_a_reason_without_words_of_its_own_leads_to_the_evidence() -> None:
    advice = advise(undecided(Reachability.UNKNOWN, "a reason of tomorrow"))
    assert advice is not None
    assert (advice.means, advice.settle) == ("nothing was proven", "`segwatch explain` shows the evidence")


def test_only_what_need_not_be_proven_and_is_denied_is_beyond_proof() -> None:
    beyond = undecided(Reachability.UNKNOWN, "loss", required=False)
    assert means(beyond).startswith("beyond proof")
    asked_for = undecided(Reachability.UNKNOWN, "loss", required=False, declared=Declared.REQUIRED)
    assert advise(asked_for) == ADVICE["loss"]


def test_no_session_where_no_packet_is_asked_for_says_what_is_lacking() -> None:
    assert "`require: no-packet`" in means(undecided(Reachability.NO_SESSION, "no-response"))


def test_every_word_for_what_is_not_proven_has_its_sentences() -> None:
    assert set(Unproven) <= set(ADVICE)
    assert set(ADVICE) <= {*Unproven, *Reason}
