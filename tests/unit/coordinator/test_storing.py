"""The coordinator's store: once, in one order, readable after everything."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.store import Store, StoreError
from reachability.finding import Region
from reachability.observation import KeptPacket, Lookup, RoundSpec, SourceReport, WitnessReport
from reachability.ports import PortSet
from reachability.vocabulary import Moment, RoundKind
from tests.unit.sample import Estate

SPEC = RoundSpec(
    round="R1",
    kind=RoundKind.NORMAL,
    schedule="cycle",
    source="dev-1",
    source_environment="dev",
    destination="prod",
    targets=(),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "state")
    yield made
    made.close()


def report(name: str = "R1") -> SourceReport:
    return SourceReport(round=name, agent="dev-1")


def test_a_batch_counts_once(store: Store) -> None:
    assert store.take("dev-1", "s", 1, 1, [report()], 10.0) == (True, 1)
    assert store.take("dev-1", "s", 1, 1, [report()], 11.0) == (False, 1)
    store.start_round(SPEC, "R1", 9.0)
    [(spec, armed, reports)] = store.group_of("R1")
    assert (spec, armed, reports) == (SPEC, {}, [(report(), 10.0)])


def test_the_acknowledgement_is_cumulative_in_any_order(store: Store) -> None:
    assert store.take("dev-1", "s", 3, 1, [], 1.0) == (True, 0)
    assert store.take("dev-1", "s", 1, 1, [], 1.0) == (True, 1)
    assert store.take("dev-1", "s", 2, 1, [], 1.0) == (True, 3)
    assert store.take("dev-1", "s", 2, 1, [], 1.0) == (False, 3)
    assert store.take("dev-1", "another", 1, 1, [], 1.0) == (True, 1), "each spool counts for itself"


def test_what_the_spool_has_lost_is_gone_over(store: Store) -> None:
    assert store.take("dev-1", "s", 1, 1, [], 1.0) == (True, 1)
    assert store.take("dev-1", "s", 9, 8, [], 1.0) == (True, 7)
    assert store.take("dev-1", "s", 8, 8, [], 1.0) == (True, 9)


def test_what_a_report_kept_comes_back_with_it_until_nothing_stands_on_its_round(store: Store) -> None:
    kept = (KeptPacket(target=1, what=Moment.SENT, at_ms=1.5, data=b"\x45\0", port=22, copy=0, interface="eth0"),)
    for name in ("R1", "R2"):
        store.start_round(replace(SPEC, round=name), name, 5.0)
        full = replace(report(name), kept=kept)
        store.take("dev-1", "s", int(name[1:]), 1, [full, WitnessReport(round=name, agent="prod-1")], 10.0)
    follow = replace(SPEC, round="F")
    store.start_round(follow, "R1", 6.0)
    store.take("dev-1", "s", 3, 1, [replace(report("F"), kept=kept)], 10.0)

    def held(name: str) -> list[tuple[KeptPacket, ...]]:
        return [r.kept for spec, _, reports in store.group_of(name) if spec.round == name for r, _ in reports]

    assert held("R1") == [kept, ()]
    store.forget_packets(10.0, [])
    assert held("R1") == [kept, ()], "it is not older"
    store.forget_packets(20.0, ["R1", "of another day"])
    assert [held(name) for name in ("R1", "F", "R2")] == [[kept, ()], [kept], [(), ()]]
    store.forget_before(20.0, ["R1"])
    assert [spec.round for spec, _, _ in store.group_of("R1")] == ["R1", "F"]
    assert held("R1") == [kept, ()]
    assert store.group_of("R2") == []
    store.forget_before(20.0, [])
    assert store.group_of("R1") == []


def test_a_store_of_before_packets_were_kept_opens(tmp_path: Path) -> None:
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "store.sqlite") as db:
        db.executescript("DROP TABLE packets; PRAGMA user_version = 1;")
    db.close()
    store = Store(tmp_path)
    store.take("dev-1", "s", 1, 1, [report()], 1.0)
    store.start_round(SPEC, "R1", 1.0)
    [(_, _, reports)] = store.group_of("R1")
    assert reports == [(report(), 1.0)]
    store.close()


def test_a_follow_up_belongs_to_its_round(store: Store) -> None:
    store.start_round(SPEC, "R1", 1.0)
    follow = RoundSpec(**{**{f: getattr(SPEC, f) for f in SPEC.__dataclass_fields__}, "round": "R0"})
    store.start_round(follow, "R1", 2.0)
    store.take("prod-1", "s", 1, 1, [WitnessReport(round="R0", agent="prod-1", late=True)], 3.0)
    store.set_armed("R1", {"prod-1": True})
    first, second = store.group_of("R0")
    assert (first[0].round, first[1], second[0].round) == ("R1", {"prod-1": True}, "R0"), "the main round comes first"
    assert second[2][0][0] == WitnessReport(round="R0", agent="prod-1", late=True)
    assert store.group_of("unknown") == []


def test_it_outlives_its_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("sequence", 7)
    store.put_lookups("dev-1", [Lookup(name="db", addresses=("10.0.0.1",))])
    store.take("dev-1", "s", 1, 1, [report()], 1.0)
    store.close()
    again = Store(tmp_path)
    assert again.get("sequence", int, 0) == 7
    assert again.get("other", int, 3) == 3
    assert again.lookups() == {"dev-1": {"db": Lookup(name="db", addresses=("10.0.0.1",))}}
    assert again.take("dev-1", "s", 1, 1, [report()], 2.0) == (False, 1)
    again.close()


def test_findings_read_back_with_their_ports(store: Store) -> None:
    book = Estate().book
    ports = PortSet.of(range(1, 65536, 2))
    found = [
        replace(one, ports=ports, regions=(*one.regions, Region(one.regions[0].key, None))) for one in book.findings
    ]
    store.put_findings(found, ())
    assert store.findings() == found
    assert store.findings()[0].ports == ports


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = Store(tmp_path)
    with pytest.raises(StoreError, match="in use by another coordinator"):
        Store(tmp_path)
    first.close()
    Store(tmp_path).close()


def test_a_store_that_is_none_or_newer_is_named(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="cannot be read"):
        Store(tmp_path)
    (tmp_path / "store.sqlite").unlink()
    with sqlite3.connect(tmp_path / "store.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="use a newer segwatch"):
        Store(tmp_path)
