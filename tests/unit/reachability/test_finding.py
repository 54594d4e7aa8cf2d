"""A finding keeps its id, and resolves by proof alone."""

from dataclasses import replace

import pytest

from reachability.compare import Cell
from reachability.finding import Finding, FindingBook, Kind, Status
from reachability.life import CAME_TO, TRANSITIONS, Happening
from reachability.steps import MOST_SHOWN
from reachability.vocabulary import Declared, Result
from tests.support.finding_cells import ONE_WAY, PATH, WAIVER, apply, cell
from tests.support.sample import NOW


def only(book: FindingBook) -> Finding:
    [finding] = [finding for finding in book.findings if finding.listed]
    return finding


def red(ports: str, name: str) -> Cell:
    return cell(ports, Result.FAIL, name, verdict=ONE_WAY)


def test_a_life() -> None:
    book = FindingBook()
    assert apply(book, cell("22", Result.FAIL, "r1")) == ["opened"]
    name = only(book).id
    assert apply(book, cell("22", Result.FAIL, "r1")) == []
    assert apply(book, cell("22", Result.FAIL, "r2")) == ["confirmed"]
    event = book.acknowledge(name, "ada", "closing it", NOW)
    assert (event.what, event.by, only(book).status) == ("acknowledged", "ada", Status.ACKNOWLEDGED)
    assert apply(book, cell("22", Result.FAIL, "r3")) == []
    assert apply(book, cell("22", Result.PASS, "r4"), after_s=9) == ["resolved"]
    assert only(book).status is Status.RESOLVED
    assert apply(book, cell("22", Result.PASS, "r5"), after_s=10) == []
    assert apply(book, cell("22", Result.FAIL, "r6"), after_s=11) == ["reopened"]
    assert only(book).id == name
    assert apply(book, cell("22", Result.FAIL, "r7"), after_s=12) == ["confirmed"]


def test_every_transition_of_the_table_leads_somewhere_else() -> None:
    assert all(before is not after for (before, _), after in TRANSITIONS.items())
    assert {status for status, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(Status)
    assert {happening for _, happening in TRANSITIONS} == set(Happening)
    assert set(TRANSITIONS.values()) == set(CAME_TO)


def test_confirm_asks_for_distinct_rounds_in_a_row() -> None:
    book = FindingBook()
    assert apply(book, red("22", "r1"), confirm=2) == []
    assert apply(book, red("22", "r1"), confirm=2) == []
    assert not [finding for finding in book.findings if finding.listed]
    assert apply(book, red("22", "r2"), confirm=2) == ["opened"]
    assert apply(book, cell("22", Result.PASS, "r3"), confirm=2) == []
    assert apply(book, cell("22", Result.PASS, "r3"), confirm=2) == []
    assert apply(book, red("22", "r4"), confirm=2) == ["confirmed"]
    assert apply(book, cell("22", Result.PASS, "r5"), confirm=2) == []
    assert apply(book, cell("22", Result.PASS, "r6"), confirm=2) == ["resolved"]


def test_it_stands_on_the_rounds_that_showed_it_last() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"), cell("23", Result.FAIL, "r2"))
    assert only(book).shown == ("r1", "r2")
    apply(book, cell("22", Result.FAIL, "r3"), cell("23", Result.FAIL, "r2"))
    assert only(book).shown == ("r2", "r3")
    apply(book, cell("22-23", Result.PASS, "r4"), after_s=9)
    assert (only(book).status, only(book).shown) == (Status.RESOLVED, ("r2", "r3"))
    many = [cell(str(port), Result.FAIL, f"s{port}") for port in range(100, 200)]
    apply(book, *many, after_s=10)
    newest = next(finding for finding in book.findings if finding.live)
    assert newest.shown == tuple(f"s{port}" for port in range(200 - MOST_SHOWN, 200))


def test_a_verify_run_is_enough_by_itself() -> None:
    book = FindingBook()
    assert apply(book, cell("22", Result.FAIL, "r1", run="v1"), confirm=3) == ["opened"]
    assert apply(book, cell("22", Result.PASS, "r2", run="v2"), confirm=3) == ["resolved"]


@pytest.mark.parametrize("result", [Result.INCONCLUSIVE, Result.STALE, Result.NOT_RUN])
def test_it_never_resolves_without_proof(result: Result) -> None:
    book = FindingBook()
    apply(book, cell("22-23", Result.FAIL, "r1"))
    for number in range(2, 6):
        assert apply(book, cell("22", Result.PASS, f"r{number}"), cell("23", result, f"r{number}")) == []
    assert only(book).status is Status.OPEN
    assert apply(book, cell("22-23", Result.PASS, "r9")) == ["resolved"]


def test_what_is_unproven_is_not_forgotten_while_the_rest_still_fails() -> None:
    book = FindingBook()
    apply(book, cell("22-23", Result.FAIL, "r1"))
    assert apply(book, cell("22", Result.FAIL, "r2"), cell("23", Result.INCONCLUSIVE, "r2")) == ["confirmed"]
    assert str(only(book).ports) == "22"
    assert apply(book, cell("22", Result.PASS, "r3"), cell("23", Result.INCONCLUSIVE, "r3")) == []
    assert apply(book, cell("22-23", Result.PASS, "r4")) == ["resolved"]


def test_a_hole_that_grows_or_shrinks_keeps_its_id() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"), cell("23", Result.PASS, "r1"))
    name = only(book).id
    assert apply(book, cell("22-23", Result.FAIL, "r2")) == ["confirmed"]
    assert apply(book, cell("22-24", Result.FAIL, "r3")) == ["changed"]
    assert apply(book, cell("24", Result.FAIL, "r4"), cell("22-23", Result.PASS, "r4")) == ["changed"]
    assert (only(book).id, str(only(book).ports)) == (name, "24")


def test_where_two_merge_the_older_id_stays() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"), cell("23-24", Result.PASS, "r1"))
    older = only(book).id
    later = [cell("22,24", Result.FAIL, "r2"), cell("23", Result.PASS, "r2")]
    at = NOW.timestamp() + 60
    later = [replace(c, judged=replace(c.judged, observed_at=at)) for c in later if c.judged is not None]
    assert apply(book, *later) == ["confirmed", "opened"]
    [younger] = [finding.id for finding in book.findings if finding.id != older]
    assert sorted(apply(book, cell("22-24", Result.FAIL, "r3"))) == ["changed", "merged"]
    assert only(book).id == older
    assert book.get(younger) == book.get(older)


def test_suspicions_that_merge_are_nobodys_news() -> None:
    """What was never told to anybody has no end to tell; the one that took it over counts on."""
    book = FindingBook()
    assert apply(book, red("22,24", "r1"), cell("23", Result.PASS, "r1"), confirm=3) == []
    assert apply(book, red("22-24", "r2"), after_s=60, confirm=3) == []
    assert sorted(bool(finding.merged_into) for finding in book.findings) == [False, True]
    assert apply(book, red("22-24", "r3"), after_s=120, confirm=3) == ["opened"]
    assert str(only(book).ports) == "22-24"


def test_a_hole_that_parts_goes_on_in_its_largest_part() -> None:
    book = FindingBook()
    apply(book, cell("20-29", Result.FAIL, "r1"))
    name = only(book).id
    apply(book, cell("20,22-29", Result.FAIL, "r2"), cell("21", Result.PASS, "r2"))
    assert {str(finding.ports): finding.id == name for finding in book.findings} == {"20": False, "22-29": True}


def test_ids_survive_a_restart_and_differ() -> None:
    book = FindingBook()
    apply(book, cell("22,24", Result.FAIL, "r1"), cell("23", Result.PASS, "r1"))
    names = {finding.id for finding in book.findings}
    assert len(names) == 2
    again = FindingBook(book.findings)
    assert apply(again, cell("22,24", Result.FAIL, "r2"), cell("23", Result.PASS, "r2")) == ["confirmed", "confirmed"]
    assert {finding.id for finding in again.findings} == names


def test_a_finding_never_takes_the_id_of_another() -> None:
    """Six digits may be the same by chance: the one that was there would be gone."""
    usual = FindingBook()
    apply(usual, cell("22", Result.FAIL, "r1"))
    [taken] = [finding.id for finding in usual.findings]
    book = FindingBook()
    elsewhere = cell("22", Result.FAIL, "r1", destination="test")
    apply(book, elsewhere)
    book = FindingBook(replace(finding, id=taken) for finding in book.findings)
    assert apply(book, elsewhere, cell("22", Result.FAIL, "r1")) == ["opened"]
    assert {finding.destination: finding.id == taken for finding in book.findings} == {"test": True, "prod": False}


def test_other_kinds_and_pairs_do_not_continue_it() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"))
    missing = cell("22", Result.FAIL, "r2", declared=Declared.REQUIRED, path=PATH)
    assert apply(book, missing) == ["opened", "resolved"]
    assert {finding.kind: finding.status for finding in book.findings} == {
        Kind.MISSING_PATH: Status.OPEN,
        Kind.UNEXPECTED_PATH: Status.RESOLVED,
    }


def test_a_declared_path_resolves_it_at_once() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"), confirm=1)
    allowed = cell("22", Result.PASS, "r1", declared=Declared.ALLOWED, path=PATH)
    [event] = book.apply([allowed], NOW, 5)
    assert (event.what, event.text) == ("resolved", "now declared by p")


def test_a_waiver_and_its_end() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"))
    name = only(book).id
    assert apply(book, cell("22", Result.WAIVED, "r2", waiver=WAIVER)) == ["waived"]
    assert only(book).waiver == "W-1"
    assert apply(book, cell("22", Result.FAIL, "r3")) == ["reopened"]
    assert only(book).id == name


def test_one_that_comes_back_long_after_is_a_new_one() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"))
    apply(book, cell("22", Result.PASS, "r2"))
    assert apply(book, cell("22", Result.FAIL, "r3"), after_s=30 * 86400) == ["opened"]
    assert len(book.findings) == 2


def test_acknowledging_what_is_not_there_or_over() -> None:
    book = FindingBook()
    with pytest.raises(KeyError):
        book.acknowledge("F-000000", "ada", "x", NOW)
    apply(book, cell("22", Result.FAIL, "r1"))
    apply(book, cell("22", Result.PASS, "r2"))
    with pytest.raises(ValueError, match="resolved"):
        book.acknowledge(only(book).id, "ada", "x", NOW)


def test_what_was_resolved_long_ago_is_forgotten_with_what_it_took_over() -> None:
    book = FindingBook()
    apply(book, cell("22", Result.FAIL, "r1"), cell("23", Result.PASS, "r1"), cell("24", Result.FAIL, "r1"))
    apply(book, cell("22-24", Result.FAIL, "r2"), after_s=1)
    assert sorted(bool(finding.merged_into) for finding in book.findings) == [False, True]
    assert apply(book, cell("22-24", Result.PASS, "r3"), after_s=100) == ["resolved"]
    every = {finding.id for finding in book.findings}
    assert not book.forget(())
    assert book.standing(()) == {"r2"}, "it may come back as the same"
    assert book.standing(every) == set()
    apply(book, cell("80", Result.FAIL, "r4"), after_s=101)
    assert book.forget({finding.id for finding in book.findings})
    assert [str(finding.ports) for finding in book.findings] == ["80"], "what stands is never forgotten"
    assert book.standing({finding.id for finding in book.findings}) == {"r4"}
