"""The newest judgement of every port, whatever the order of the updates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachability.matrix import CellKey, Judged, Matrix
from reachability.ports import ALL_PORTS, ICMP_CELL, PortSet
from reachability.verdict import Evidence, judge
from reachability.vocabulary import Protocol

KEY = CellKey(agent="dev-1", source_address="10.0.0.1", destination="prod", address="10.1.0.1", protocol=Protocol.TCP)
ICMP = CellKey(agent="dev-1", source_address="10.0.0.1", destination="prod", address="10.1.0.1", protocol=Protocol.ICMP)


def seen(name: str, at: float, sent: int = 0) -> Judged:
    evidence = Evidence(protocol=Protocol.TCP, sent=sent)
    return Judged(evidence=evidence, verdict=judge(evidence), round=name, observed_at=at)


def test_a_later_round_is_laid_over_an_earlier_one() -> None:
    matrix = Matrix()
    matrix.update(KEY, ALL_PORTS, seen("a", 1))
    matrix.update(KEY, PortSet.of([22]), seen("b", 2))
    assert [(str(ports), judged.round) for ports, judged in matrix.rows(KEY)] == [("1-21,23-65535", "a"), ("22", "b")]


def test_what_comes_late_does_not_hide_what_was_observed_after_it() -> None:
    matrix = Matrix()
    matrix.update(KEY, PortSet.of([22]), seen("new", 9))
    matrix.update(KEY, PortSet.parse("21-23"), seen("old", 1))
    assert [(str(ports), judged.round) for ports, judged in matrix.rows(KEY)] == [("21,23", "old"), ("22", "new")]


def test_the_same_round_is_corrected_even_by_an_older_report() -> None:
    matrix = Matrix()
    matrix.update(KEY, PortSet.of([22]), seen("a", 9))
    matrix.update(KEY, PortSet.of([22]), seen("a", 8, sent=3))
    assert [judged.evidence.sent for _, judged in matrix.rows(KEY)] == [3]


def test_the_rounds_are_those_of_what_is_held_now() -> None:
    matrix = Matrix()
    assert matrix.rounds == set()
    matrix.update(KEY, PortSet.parse("1-10"), seen("a", 1))
    matrix.update(KEY, PortSet.parse("5-10"), seen("b", 2))
    matrix.update(ICMP, ICMP_CELL, seen("c", 2))
    assert matrix.rounds == {"a", "b", "c"}
    matrix.update(KEY, PortSet.parse("1-10"), seen("d", 3))
    assert matrix.rounds == {"c", "d"}


def test_alike_rows_become_one() -> None:
    matrix = Matrix()
    matrix.update(KEY, PortSet.parse("1-10"), seen("a", 1))
    matrix.update(KEY, PortSet.parse("11-20"), seen("a", 1))
    assert [str(ports) for ports, _ in matrix.rows(KEY)] == ["1-20"]


def test_icmp_has_one_cell() -> None:
    matrix = Matrix()
    matrix.update(ICMP, ICMP_CELL, seen("a", 2))
    matrix.update(ICMP, ICMP_CELL, seen("late", 1))
    assert [(ports, judged.round) for ports, judged in matrix.rows(ICMP)] == [(ICMP_CELL, "a")]
    assert list(matrix) == [ICMP]
    assert len(matrix) == 1
    matrix.drop(ICMP)
    assert matrix.rows(ICMP) == ()


def test_a_clock_that_was_set_makes_nothing_older_or_newer_than_it_was() -> None:
    matrix = Matrix()
    matrix.update(KEY, PortSet.parse("1-10"), seen("a", 100))
    matrix.update(KEY, PortSet.parse("5-10"), seen("b", 200))
    matrix.update(ICMP, ICMP_CELL, seen("b", 200))
    matrix.shift(-3600)
    assert [(str(ports), judged.observed_at) for ports, judged in matrix.rows(KEY)] == [("1-4", -3500), ("5-10", -3400)]
    matrix.update(ICMP, ICMP_CELL, seen("c", -3399))
    assert [judged.round for _, judged in matrix.rows(ICMP)] == ["c"], "a second later is still later"


def test_ports_belong_to_tcp_and_udp() -> None:
    with pytest.raises(ValueError, match="ports"):
        Matrix().update(KEY, ICMP_CELL, seen("a", 1))
    with pytest.raises(ValueError, match="no ports"):
        Matrix().update(ICMP, PortSet.of([1]), seen("a", 1))


UPDATES = st.lists(
    st.tuples(st.frozensets(st.integers(1, 40), min_size=1), st.integers(0, 5), st.integers(0, 3), st.integers(0, 2))
)


@given(UPDATES)
def test_every_port_has_the_newest_judgement(updates: list[tuple[frozenset[int], int, int, int]]) -> None:
    """Reports come in any order; a round may report again, which corrects it, older or newer."""
    matrix = Matrix()
    newest: dict[int, Judged] = {}
    for ports, at, number, sent in updates:
        one = seen(f"r{number}", at, sent)
        matrix.update(KEY, PortSet.of(ports), one)
        for port in ports:
            before = newest.get(port)
            if before is None or before.round == one.round or before.observed_at <= one.observed_at:
                newest[port] = one
    rows = [(ports, judged) for ports, judged in matrix.rows(KEY)]
    assert {port: judged for ports, judged in rows for port in ports} == newest
    assert sum(len(ports) for ports, _ in rows) == len(newest)
    assert [ports.first for ports, _ in rows] == sorted(ports.first for ports, _ in rows)


def test_alternating_states_are_two_rows() -> None:
    matrix = Matrix()
    for number in range(4):
        matrix.update(KEY, PortSet.of(range(1 + number % 2, 65536, 2)), seen(f"r{number}", number))
    rows = [(judged.round, len(ports)) for ports, judged in matrix.rows(KEY)]
    assert rows == [("r2", 32768), ("r3", 32767)]


@given(st.lists(st.tuples(st.integers(1, 5), st.lists(st.integers(1, 9), min_size=9, max_size=9)), max_size=5))
def test_rows_that_are_laid_together_are_as_if_laid_one_after_the_other(rounds: list[tuple[int, list[int]]]) -> None:
    together, single = Matrix(), Matrix()
    for number, (at, sent) in enumerate(rounds):
        rows = [(PortSet.of([port]), seen(f"R{number % 3}", at, sent=copies)) for port, copies in enumerate(sent, 1)]
        together.lay(KEY, rows)
        for ports, judged in rows:
            single.update(KEY, ports, judged)
    assert by_port(together) == by_port(single)


def by_port(matrix: Matrix) -> dict[int, Judged]:
    return {port: judged for ports, judged in matrix.rows(KEY) for port in ports}


def test_each_row_is_compared_with_few_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent may make a row of its own of every port: a thousand had cost a million comparisons."""
    compared = 0
    ordinary = PortSet.__sub__

    def counted(mine: PortSet, other: PortSet) -> PortSet:
        nonlocal compared
        compared += 1
        return ordinary(mine, other)

    matrix = Matrix()
    monkeypatch.setattr(PortSet, "__sub__", counted)
    for name in ("a", "b"):
        matrix.lay(KEY, [(PortSet.of([port]), seen(name, 1, sent=port)) for port in range(1, 1001)])
    assert len(matrix.rows(KEY)) == 1000
    assert compared <= 3 * 1000


def test_no_ports_leave_no_trace() -> None:
    matrix = Matrix()
    matrix.update(KEY, PortSet(), seen("a", 1))
    assert KEY not in list(matrix)
