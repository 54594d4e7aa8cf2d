"""A fold loses and invents no port, and is parted exactly where a port was shown to be as declared."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reachability.compare import Cell
from reachability.finding import FindingBook, Kind, Places, Region, fold_findings
from reachability.ports import ALL_PORTS, ICMP_CELL, PortSet
from reachability.vocabulary import Declared, Protocol, Result, State
from tests.support.finding_cells import PATH, WAIVER, apply, cell

MOST = 40


# What a port can come to: what folds under a label, what parts a kind, what does neither.
KINDS: tuple[dict[str, Any], ...] = (
    {"result": Result.FAIL},
    {"result": Result.FAIL, "service": "web"},
    {"result": Result.WAIVED, "waiver": WAIVER},
    {"result": Result.FAIL, "declared": Declared.REQUIRED, "path": PATH},
    {"result": Result.WAIVED, "declared": Declared.REQUIRED, "path": PATH, "waiver": WAIVER},
    {"result": Result.PASS},
    {"result": Result.PASS, "declared": Declared.REQUIRED, "path": PATH},
    {"result": Result.PASS, "declared": Declared.ALLOWED, "path": PATH},
    {"result": Result.INCONCLUSIVE},
    {"result": Result.STALE},
    {"result": Result.NOT_RUN},
)
LABELS = {0: 0, 1: 0, 2: 2, 3: 3, 4: 4}  # places in KINDS that fold together
PARTED_BY = {0: 5, 2: 5, 3: 6, 4: 6}
HOST = st.lists(st.sampled_from(range(len(KINDS))), min_size=MOST, max_size=MOST)


def cells_of(host: list[int], address: str) -> list[Cell]:
    """Each port in one cell, with those that came out the same way."""
    return [
        cell(str(PortSet.of(n for n, one in enumerate(host, start=1) if one == kind)), address=address, **KINDS[kind])
        for kind in sorted(set(host))
    ]


def model(host: list[int]) -> set[tuple[Kind, str, frozenset[int]]]:
    """The runs of each label, port by port."""
    runs: list[tuple[int, list[int]]] = []
    open_runs: dict[int, list[int]] = {}
    for port, kind in enumerate(host, start=1):
        if kind in LABELS:
            label = LABELS[kind]
            if label not in open_runs:
                open_runs[label] = []
                runs.append((label, open_runs[label]))
            open_runs[label].append(port)
        for label in [label for label in open_runs if PARTED_BY[label] == kind]:
            del open_runs[label]
    return {
        (
            Kind.UNEXPECTED_PATH if label < 3 else Kind.MISSING_PATH,
            "W-1" if label in {2, 4} else "",
            frozenset(ports),
        )
        for label, ports in runs
    }


@given(HOST)
def test_the_folds_of_a_host_are_its_runs(host: list[int]) -> None:
    folds = fold_findings(cells_of(host, "10.30.0.10"))
    assert len(folds) == len(model(host))
    assert {(fold.kind, fold.waiver, frozenset(fold.ports)) for fold in folds} == model(host)
    for fold in folds:
        ports = set(fold.ports)
        assert [region.ports for region in fold.regions] == [fold.ports]
        assert fold.services == (("web",) if any(host[port - 1] == 1 for port in ports) else ())


@given(HOST, HOST)
def test_of_two_hosts_no_cell_is_lost_and_none_is_in_two_folds(one: list[int], other: list[int]) -> None:
    hosts = {"10.30.0.10": one, "10.30.0.11": other}
    folds = fold_findings(cell for address, host in hosts.items() for cell in cells_of(host, address))
    folded = [
        (region.key.address, port, fold.waiver) for fold in folds for region in fold.regions for port in region.ports
    ]
    bad = [
        (address, port, "W-1" if kind in {2, 4} else "")
        for address, host in hosts.items()
        for port, kind in enumerate(host, start=1)
        if kind in LABELS
    ]
    assert sorted(folded) == sorted(bad)
    assert sum(fold.count for fold in folds) == len(bad)


@given(
    HOST,
    HOST,
    st.lists(st.tuples(st.integers(0, 2), st.frozensets(st.integers(1, MOST))), max_size=4),
    st.sampled_from(Kind),
)
def test_what_a_finding_shares_with_a_fold_is_counted_cell_by_cell(
    one: list[int], other: list[int], regions: list[tuple[int, frozenset[int]]], kind: Kind
) -> None:
    folds = fold_findings([*cells_of(one, "10.30.0.0"), *cells_of(other, "10.30.0.1")])
    keys = [cell("1", Result.FAIL, address=f"10.30.0.{host}").key for host in range(3)]
    book = FindingBook()
    apply(book, cell("1", Result.FAIL))
    held = tuple(Region(keys[host], PortSet.of(ports)) for host, ports in regions)
    finding = replace(book.findings[0], kind=kind, regions=held)
    mine = {(keys[host], port) for host, ports in regions for port in ports}
    shared = {
        index: len(mine & {(region.key, port) for region in fold.regions for port in region.ports})
        for index, fold in enumerate(folds)
        if fold.kind is kind
    }
    assert Places(folds).shared(finding) == {index: count for index, count in shared.items() if count}


def test_every_other_port_is_a_fold_of_its_own_however_many() -> None:
    odd, even = PortSet.of(range(1, 4000, 2)), PortSet.of(range(2, 4000, 2))
    book = FindingBook()
    for name, more in (("r1", "opened"), ("r2", "confirmed")):
        cells = [cell(str(odd), Result.FAIL, name), cell(str(even), Result.PASS, name)]
        assert apply(book, *cells) == [more] * 2000
    assert {len(finding.ports) for finding in book.findings} == {1}
    assert apply(book, cell(str(odd | even), Result.PASS, "r3")) == ["resolved"] * 2000


def shown(cells: Iterable[Cell]) -> list[tuple[str, str]]:
    return [(",".join(fold.addresses), str(fold.ports)) for fold in fold_findings(cells)]


def test_contiguous_ports_fold_and_a_closed_port_parts_them() -> None:
    assert shown([cell("20-22", Result.FAIL), cell("23-30", Result.FAIL, service="web")]) == [("10.30.0.10", "20-30")]
    assert shown([cell("20,22", Result.FAIL), cell("21", Result.PASS)]) == [("10.30.0.10", "20"), ("10.30.0.10", "22")]


def test_what_was_not_shown_to_be_closed_parts_nothing() -> None:
    for between in (Result.NOT_RUN, Result.STALE, Result.INCONCLUSIVE):
        assert shown([cell("20,22", Result.FAIL), cell("21", between)]) == [("10.30.0.10", "20,22")]
    allowed = cell("21", Result.PASS, declared=Declared.ALLOWED)
    assert shown([cell("20,22", Result.FAIL), allowed]) == [("10.30.0.10", "20,22")]


def test_what_works_parts_what_is_missing_and_what_is_shut_does_not() -> None:
    missing = cell("20,22", Result.FAIL, declared=Declared.REQUIRED, path=PATH)
    works = cell("21", Result.PASS, declared=Declared.REQUIRED, path=PATH)
    assert shown([missing, works]) == [("10.30.0.10", "20"), ("10.30.0.10", "22")]
    assert shown([missing, cell("21", Result.PASS)]) == [("10.30.0.10", "20,22")]
    assert shown([cell("20,22", Result.FAIL), works]) == [("10.30.0.10", "20,22")], "it says nothing of a leak"


def test_hosts_fold_then_directions() -> None:
    cells = [
        cell("1-65535", Result.FAIL, address=address, agent=agent, source_address=agent)
        for agent in ("dev-1", "dev-2")
        for address in ("10.30.0.10", "10.30.0.21")
    ]
    [fold] = fold_findings(cells)
    assert (fold.agents, fold.addresses, fold.count) == (("dev-1", "dev-2"), ("10.30.0.10", "10.30.0.21"), 4 * 65535)


def test_kinds_waivers_protocols_and_pairs_stay_apart() -> None:
    cells = [
        cell("22", Result.FAIL),
        cell("23", Result.WAIVED, waiver=WAIVER),
        cell("24", Result.FAIL, declared=Declared.REQUIRED, path=PATH),
        cell("22", Result.FAIL, protocol=Protocol.UDP),
        cell(None, Result.FAIL),
        cell("22", Result.FAIL, destination="test"),
    ]
    folds = fold_findings(cells)
    assert len(folds) == 6
    assert [fold.path for fold in folds if fold.kind is Kind.MISSING_PATH] == ["p"]
    assert [fold.waiver for fold in folds if fold.waiver] == ["W-1"]
    assert [fold.ports for fold in folds if fold.protocol is Protocol.ICMP] == [ICMP_CELL]


def test_what_answered_speaks_for_the_fold() -> None:
    closed = cell("22", Result.FAIL, name="r9", state=State.CLOSED)
    [fold] = fold_findings([closed, cell("23", Result.FAIL)])
    assert fold.judged[0].evidence.state is State.OPEN
    assert fold.rounds == {"r1", "r9"}


RESULTS = st.sampled_from([Result.FAIL, Result.PASS, Result.WAIVED, Result.INCONCLUSIVE, Result.NOT_RUN])


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 1), st.integers(0, 1), RESULTS), max_size=40))
def test_a_fold_loses_and_invents_no_port(rows: list[tuple[int, int, int, Result]]) -> None:
    chosen = {(port, host, agent): result for port, host, agent, result in rows}
    cells = [
        cell(
            str(port),
            result,
            address=f"10.30.0.{host}",
            agent=f"dev-{agent}",
            waiver=WAIVER if result is Result.WAIVED else None,
        )
        for (port, host, agent), result in chosen.items()
    ]
    folds = fold_findings(cells)
    folded = [
        (port, region.key.address, region.key.agent, fold.waiver)
        for fold in folds
        for region in fold.regions
        for port in region.ports
    ]
    bad = [
        (port, f"10.30.0.{host}", f"dev-{agent}", "W-1" if result is Result.WAIVED else "")
        for (port, host, agent), result in chosen.items()
        if result in {Result.FAIL, Result.WAIVED}
    ]
    assert sorted(folded) == sorted(bad)
    for fold in folds:
        assert {str(region.ports) for region in fold.regions} == {str(fold.ports)}
        assert {(r.key.agent, r.key.address) for r in fold.regions} == set(
            itertools.product(fold.agents, fold.addresses)
        )


def test_a_whole_sweep_of_many_hosts_is_one_fold() -> None:
    cells = [cell(str(ALL_PORTS), Result.FAIL, address=f"10.30.0.{host}") for host in range(1, 17)]
    [fold] = fold_findings(cells)
    assert (len(fold.addresses), fold.count) == (16, 16 * 65535)
