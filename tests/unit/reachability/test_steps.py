"""What a round does to a finding: one round opens what an answer shows, and what comes and goes is open."""

from dataclasses import replace

import pytest

from reachability.finding import Finding, FindingBook, Status
from reachability.steps import RECENT
from reachability.vocabulary import Declared, Result
from tests.support.finding_cells import LEAK, ONE_WAY, PATH, WAIVER, apply, cell
from tests.support.sample import NOW


def only(book: FindingBook) -> Finding:
    [finding] = book.findings
    return finding


def rounds(book: FindingBook, pattern: str, confirm: int, first: int = 0) -> list[str]:
    """Apply a round for each letter: `x` one-way, `o` answered, `.` shut, `?` undecided; what happened, as words."""
    happened = []
    for number, letter in enumerate(pattern, first):
        name = f"r{number}"
        match letter:
            case "x":
                one = cell("22", Result.FAIL, name, verdict=ONE_WAY)
            case "o":
                one = cell("22", Result.FAIL, name)
            case "?":
                one = cell("22", Result.INCONCLUSIVE, name)
            case _:
                one = cell("22", Result.PASS, name)
        happened += [f"{event} {number}" for event in apply(book, one, confirm=confirm)]
    return happened


@pytest.mark.parametrize("row", [1, 2, 5])
def test_one_round_that_shows_an_answer_opens_a_finding_whatever_confirm_says(row: int) -> None:
    book = FindingBook()
    assert apply(book, cell("22", Result.FAIL, "r1", verdict=replace(LEAK, row=row)), confirm=5) == ["opened"]


@pytest.mark.parametrize("row", [8, 9, 10, 11, 13, 14])
def test_every_other_red_row_waits(row: int) -> None:
    book = FindingBook()
    red = replace(ONE_WAY, row=row)
    assert apply(book, cell("22", Result.FAIL, "r1", verdict=red), confirm=2) == []
    assert apply(book, cell("22", Result.FAIL, "r2", verdict=red), confirm=2) == ["opened"]


def test_an_answer_where_a_path_is_required_is_no_proof_that_something_is_wrong() -> None:
    """It is closed there (row 5): the service may be about to restart."""
    book = FindingBook()
    closed = replace(LEAK, row=5)
    down = cell("22", Result.FAIL, "r1", declared=Declared.REQUIRED, path=PATH, verdict=closed)
    assert apply(book, down, confirm=2) == []


def test_one_that_was_resolved_comes_back_in_one_round_too() -> None:
    assert rounds(FindingBook(), "o..o", 2) == ["opened 0", "resolved 2", "reopened 3"]


def test_what_answers_every_other_round_is_open_and_flapping() -> None:
    book = FindingBook()
    assert rounds(book, "o.o.o.o.o.", 2) == ["opened 0", "confirmed 2"]
    assert (only(book).status, only(book).flapping, only(book).changes) == (Status.CONFIRMED, True, 7)


def test_so_is_what_only_arrives_every_other_round() -> None:
    book = FindingBook()
    assert rounds(book, "x.x.", 2) == []
    assert not only(book).listed
    assert rounds(book, "x.x.", 2, 4) == ["opened 4", "confirmed 6"]
    assert only(book).flapping


def test_with_one_round_to_confirm_it_stops_resolving_while_it_flaps() -> None:
    book = FindingBook()
    assert rounds(book, "o.o.o.o", 1) == ["opened 0", "resolved 1", "reopened 2", "confirmed 4"]
    assert rounds(book, "..", 1, 7) == ["resolved 8"]


def test_a_verify_run_alone_does_not_resolve_what_flaps() -> None:
    book = FindingBook()
    rounds(book, "o.o.o", 3)
    assert apply(book, cell("22", Result.PASS, "v", run="run-1"), confirm=3) == []
    assert rounds(book, "..", 3, 6) == ["resolved 7"]


def test_it_flaps_no_more_once_it_has_stayed_the_same() -> None:
    book = FindingBook()
    rounds(book, "o.o.o" + "o" * (RECENT - 1), 2)
    assert (only(book).flapping, only(book).recent) == (False, "x" * RECENT)
    rounds(book, "." * 2 * RECENT, 2, 50)
    assert (only(book).status, only(book).recent) == (Status.RESOLVED, "." * RECENT)


def test_two_holes_with_a_long_peace_between_them_are_no_flapping() -> None:
    book = FindingBook()
    rounds(book, "o..o" + "." * RECENT + "o", 2)
    assert not only(book).flapping


def test_what_proves_nothing_is_neither_a_change_nor_an_interruption() -> None:
    book = FindingBook()
    assert rounds(book, "x?x", 2) == ["opened 2"]
    assert only(book).recent == "xx"


def test_the_same_round_again_is_one_conclusion() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"), confirm=2)
    apply(book, cell("22", Result.PASS, "r1"), confirm=2)
    apply(book, cell("22", Result.FAIL, "r1"), confirm=2)
    assert (only(book).status, only(book).recent) == (Status.OPEN, "x")


def test_a_suspicion_is_remembered_for_some_rounds_and_counts_anew() -> None:
    book = FindingBook()
    assert rounds(book, "x.x", 2) == [], "two, but not in a row"
    assert only(book).suspected
    assert rounds(book, ".", 2, 3) == []
    assert not only(book).suspected, "what the newest round has shown to be closed is nobody's suspicion"
    assert rounds(book, "." * RECENT, 2, 4) == []
    assert book.findings == ()


def test_a_suspicion_never_takes_over_what_was_told() -> None:
    book = FindingBook()
    suspected = cell("22", Result.FAIL, "r1", verdict=ONE_WAY)
    apply(book, suspected, cell("23-24", Result.PASS, "r1"), confirm=9)
    at = NOW.timestamp() + 60
    told = cell("24", Result.FAIL, "r2")
    told = replace(told, judged=replace(told.judged, observed_at=at)) if told.judged else told
    apply(book, cell("22-23", Result.PASS, "r2"), told, confirm=9)
    [name] = [finding.id for finding in book.findings if finding.listed]
    assert apply(book, cell("22-24", Result.FAIL, "r3"), confirm=9) == ["confirmed"]
    assert [finding.id for finding in book.findings if finding.listed] == [name]


def test_a_waived_hole_that_closes_is_resolved_too() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.WAIVED, "r1", waiver=WAIVER))
    assert apply(book, cell("22", Result.PASS, "r2")) == ["resolved"]


HERE, THERE = "10.30.0.10", "10.30.0.99"


def test_one_whose_address_has_left_the_plan_ends_when_what_took_its_place_is_tested() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"), confirm=2)
    assert apply(book, cell("22", Result.NOT_RUN, address=THERE), confirm=2) == []
    assert only(book).live, "where it is now nobody has looked"
    [event] = book.apply([cell("22", Result.PASS, "r2", address=THERE)], NOW, 2)
    assert event.what == "resolved"
    assert event.text == (
        f"{HERE} of prod is not probed any more: the topology does not name it, or a name or an agent has another address "
        "now, where it was tested"
    )


def test_where_it_moved_to_and_is_open_there_is_another_finding() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"))
    assert apply(book, cell("22", Result.FAIL, "r2", address=THERE)) == ["opened", "resolved"]


def test_what_is_left_of_one_that_lost_a_host_goes_on() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"), cell("22", Result.FAIL, "r1", address=THERE))
    assert apply(book, cell("22", Result.FAIL, "r2")) == ["confirmed"]
    assert only(book).addresses == (HERE,)
    assert apply(book, cell("22", Result.PASS, "r3")) == ["resolved"]


def test_one_that_may_have_moved_to_what_is_not_tested_stands_though_the_rest_of_it_passes() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"), cell("22", Result.FAIL, "r1", address=THERE))
    moved = cell("22", Result.NOT_RUN, address="10.30.0.100")
    assert apply(book, cell("22", Result.PASS, "r2"), moved) == []
    assert only(book).live


@pytest.mark.parametrize(
    ("left", "why"),
    [
        ({"destination": "test"}, "nothing in prod is probed any more"),
        ({"agent": "dev-2"}, "prod is not probed from dev-1 any more"),
        ({"source_address": "10.10.0.11"}, "prod is not probed from 10.10.0.10 of dev-1 any more"),
    ],
)
def test_it_says_what_has_left_the_plan(left: dict[str, str], why: str) -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"))
    [event] = book.apply([cell("22", Result.PASS, "r2", **left)], NOW, 5)
    assert (event.what, event.text) == ("resolved", why)


def test_a_port_that_nothing_asks_for_any_more_is_not_shown_to_be_closed() -> None:
    """The sweep that found it may have been taken out of the topology; its host is there as before."""
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"))
    assert apply(book, cell("23", Result.PASS, "r2")) == []
    assert only(book).live


def test_a_suspicion_ends_with_its_address_too() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1", verdict=ONE_WAY), confirm=2)
    assert apply(book, cell("22", Result.PASS, "r2", address=THERE), confirm=2) == []
    assert book.findings == ()
