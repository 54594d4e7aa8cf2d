"""A fold loses and invents no port, and is parted exactly where a port was shown to be as declared."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reachability.compare import Cell
from reachability.finding import FindingBook, Kind, Places, Region, fold_findings
from reachability.ports import PortSet
from reachability.vocabulary import Declared, Result
from tests.unit.reachability.test_finding import PATH, WAIVER, apply, cell

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
    assert {(fold.kind, fold.waiver, frozenset(fold.ports or ())) for fold in folds} == model(host)
    for fold in folds:
        ports = set(fold.ports or ())
        assert [region.ports for region in fold.regions] == [fold.ports]
        assert fold.services == (("web",) if any(host[port - 1] == 1 for port in ports) else ())


@given(HOST, HOST)
def test_of_two_hosts_no_cell_is_lost_and_none_is_in_two_folds(one: list[int], other: list[int]) -> None:
    hosts = {"10.30.0.10": one, "10.30.0.11": other}
    folds = fold_findings(cell for address, host in hosts.items() for cell in cells_of(host, address))
    folded = [
        (region.key.address, port, fold.waiver)
        for fold in folds
        for region in fold.regions
        for port in region.ports or ()
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
        index: len(mine & {(region.key, port) for region in fold.regions for port in region.ports or ()})
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
    assert {len(finding.ports or ()) for finding in book.findings} == {1}
    assert apply(book, cell(str(odd | even), Result.PASS, "r3")) == ["resolved"] * 2000
