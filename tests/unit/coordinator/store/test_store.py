"""The coordinator's store: once, in one order, readable after everything."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from coordinator.store import Gap, Losses, Part, Store, StoreError, Taken
from coordinator.store.retention import PACKETS_S, ROUNDS_S
from coordinator.store.spools import NEVER_SENT, TooManyHolesError
from reachability.arrival import WitnessReport
from reachability.finding import Region
from reachability.observation import KeptPacket, Lookup, SourceReport
from reachability.ports import ICMP_CELL, PortSet
from reachability.round_data import RoundSpec
from reachability.vocabulary import PacketRole, RoundKind, Schedule
from tests.support.sample import Estate
from wire.messages import Ack
from wire.signing import open_down, pack_down

SPEC = RoundSpec(
    round="R1",
    kind=RoundKind.NORMAL,
    schedule=Schedule.CYCLE,
    source="dev-1",
    source_environment="dev",
    destination="prod",
    targets=(),
)


class Steady:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Steady:
    return Steady()


@pytest.fixture
def store(tmp_path: Path, clock: Steady) -> Iterator[Store]:
    made = Store(tmp_path / "state", steady=clock)
    yield made
    made.close()


def report(name: str = "R1") -> SourceReport:
    return SourceReport(round=name, agent="dev-1")


def test_a_batch_counts_once(store: Store) -> None:
    assert store.take("dev-1", "s", 1, 1, [report()], 10.0) == Taken(True, 1)
    assert store.take("dev-1", "s", 1, 1, [report()], 11.0) == Taken(False, 1)
    store.start_round(SPEC, "R1", 9.0)
    [(spec, armed, reports)] = store.group_of("R1")
    assert (spec, armed, reports) == (SPEC, {}, [(report(), 10.0)])


def test_a_report_that_is_stored_comes_again_by_a_spool_of_another_name_and_counts_once(store: Store) -> None:
    other = SourceReport(round="R1", agent="dev-1", problems=("another",))
    assert store.take("dev-1", "s", 1, 1, [report()], 10.0) == Taken(True, 1)
    assert store.take("dev-1", "set back", 1, 1, [report(), other], 10.0) == Taken(True, 1)
    store.start_round(SPEC, "R1", 9.0)
    [(_, _, reports)] = store.group_of("R1")
    assert reports == [(report(), 10.0), (other, 10.0)]


def test_another_batch_under_a_sequence_that_is_known_is_stored_and_its_spool_told_that_it_was_set_back(
    store: Store,
) -> None:
    """An older copy of the spool's file went on from there: its agent has sent more than was acknowledged already."""
    for number in range(1, 4):
        store.take("dev-1", "s", number, 1, [report(f"R{number}")], 1.0)
    store.take("dev-1", "s", 6, 1, [report("R6")], 1.0)
    for number, (name, known) in enumerate({"R2": True, "N2": False, "N6": False}.items(), 1):
        taken = store.take("dev-1", "s", int(name[1:]), 1, [report(name)], 1.0 + number)
        assert taken == (Taken(False, 3) if known else Taken(True, NEVER_SENT, set_back=True))
        assert store.take("dev-1", "s", int(name[1:]), 1, [report(name)], 2.0 + number) == Taken(False, 3), "once"
    held = [name for (name,) in store._db.execute("SELECT round FROM reports ORDER BY id")]
    assert held == ["R1", "R2", "R3", "R6", "N2", "N6"]


def test_what_tells_a_spool_that_it_was_set_back_is_taken_by_its_agent() -> None:
    told = Ack(spool="s", sequence=NEVER_SENT)
    key = SigningKey.generate()
    payload = pack_down(key, "dev-1", 1, told, 0.0, echo=b"e" * 16)
    assert open_down(key.verify_key, payload, agent="dev-1").body == told


def test_the_acknowledgement_is_cumulative_in_any_order(store: Store) -> None:
    assert store.take("dev-1", "s", 3, 1, [], 1.0) == Taken(True, 0)
    assert store.take("dev-1", "s", 1, 1, [], 1.0) == Taken(True, 1)
    assert store.take("dev-1", "s", 2, 1, [], 1.0) == Taken(True, 3)
    assert store.take("dev-1", "s", 2, 1, [], 1.0) == Taken(False, 3)
    assert store.take("dev-1", "another", 1, 1, [], 1.0) == Taken(True, 1), "each spool counts for itself"


def lost(taken: Taken) -> list[tuple[int, int, int, int, str]]:
    return [(gap.first, gap.last, gap.batches, gap.reports, gap.why) for gap in taken.lost]


def told(first: int, last: int, reports: int = 0, why: str = "bytes", since: float = 1.0, until: float = 2.0) -> Gap:
    count = last - first + 1
    return Gap(
        spool="s", first=first, last=last, batches=count, reports=reports or count, since=since, until=until, why=why
    )


def test_what_the_spool_has_lost_is_gone_over_and_counted(store: Store) -> None:
    assert store.take("dev-1", "s", 1, 1, [], 1.0) == Taken(True, 1)
    taken = store.take("dev-1", "s", 9, 8, [], 5.0, now=6.0)
    assert (taken.new, taken.acknowledged, lost(taken)) == (True, 7, [(2, 7, 6, 6, "gone")])
    assert store.take("dev-1", "s", 8, 8, [], 1.0) == Taken(True, 9)
    [kept] = store.gaps()
    assert (kept.agent, kept.since, kept.until, kept.noticed) == ("dev-1", 5.0, 5.0, 6.0)
    assert store.take("dev-1", "s", 4, 4, [report()], 1.0) == Taken(False, 9), (
        "what came after all is in the gap already"
    )


def test_a_gap_that_is_told_is_stored_exactly_once_and_without_what_is_held(store: Store) -> None:
    store.take("dev-1", "s", 1, 1, [report()], 1.0)
    store.take("dev-1", "s", 4, 1, [report()], 1.0)
    first = store.take("dev-1", "s", 6, 1, [], 2.0, gaps=[told(1, 6)])
    assert (first.new, first.acknowledged) == (False, 6)
    assert lost(first) == [(2, 3, 2, 2, "bytes"), (5, 6, 2, 2, "bytes")]
    for _ in range(3):
        assert store.take("dev-1", "s", 6, 1, [], 2.0, gaps=[told(1, 6)]) == Taken(False, 6)
    grown = store.take("dev-1", "s", 9, 1, [], 2.0, gaps=[told(1, 9, why="age,bytes", since=0.5, until=9.0)])
    assert lost(grown) == [(7, 9, 3, 3, "age,bytes")]
    newest, older = store.gaps()
    assert (newest.first, newest.last, newest.batches, newest.reports) == (5, 9, 5, 5), "it goes on: they are one"
    assert (newest.since, newest.until, newest.why) == (0.5, 9.0, "age,bytes")
    assert (older.first, older.last) == (2, 3)
    assert store.losses() == {"dev-1": Losses(7, 7, 0.5, 9.0, "age,bytes")}


def test_a_gap_above_what_is_held_waits_for_what_is_below(store: Store) -> None:
    store.take("dev-1", "s", 1, 1, [], 1.0)
    taken = store.take("dev-1", "s", 8, 2, [], 1.0, gaps=[told(6, 8, 30, "disk")])
    assert (taken.acknowledged, lost(taken)) == (1, [(6, 8, 3, 30, "disk")])
    assert store.take("dev-1", "s", 9, 2, [report()], 1.0) == Taken(True, 1)
    for sequence in (2, 3, 4):
        assert store.take("dev-1", "s", sequence, 2, [], 1.0) == Taken(True, sequence)
    assert store.take("dev-1", "s", 5, 5, [], 1.0) == Taken(True, 9)


def test_a_spool_that_is_new_here_begins_where_it_is(store: Store) -> None:
    assert store.take("dev-1", "s", 57, 56, [], 1.0) == Taken(True, 55), "another store acknowledged what was before"
    assert store.take("dev-1", "s", 56, 56, [], 1.0) == Taken(True, 57)
    taken = store.take("prod-1", "t", 8, 8, [], 1.0, gaps=[replace(told(1, 5), spool="t")])
    assert lost(taken) == [(1, 5, 5, 5, "bytes"), (6, 7, 2, 2, "gone")]
    assert store.take("prod-1", "s", 1, 1, [report()], 1.0) == Taken(True, 1), "a spool is its agent's own"


def test_gaps_and_holes_and_spools_are_bounded_and_nothing_is_uncounted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps, spools, holes = 8, 8, 40
    for name, most in (("GAPS", gaps), ("SPOOLS", spools), ("HOLES", holes)):
        monkeypatch.setattr(f"coordinator.store.spools.MOST_{name}", most)
    for number in range(1, 2 * gaps + 1):
        store.take("dev-1", "s", 2 * number, 2 * number, [], float(number))
    kept = store.gaps()
    assert len(kept) == gaps
    assert (kept[-1].first, kept[-1].last, kept[-1].batches) == (3, 2 * gaps + 1, gaps), "the oldest are one"
    assert store.losses()["dev-1"].batches == 2 * gaps - 1
    for number in range(spools + 5):
        store.take("dev-1", f"t{number}", 1, 1, [], 1.0, now=1000.0 + number)
    assert store.take("dev-1", "t2", 1, 1, [], 1.0) == Taken(True, 1), "the one heard of longest ago is forgotten"
    assert store.take("dev-1", "t9", 1, 1, [], 1.0) == Taken(False, 1)
    store.take("prod-1", "u", 1, 1, [], 1.0)
    for number in range(holes):
        store.take("prod-1", "u", 2 * number + 4, 1, [], 1.0)
    with pytest.raises(TooManyHolesError):
        store.take("prod-1", "u", 2**40, 1, [report()], 1.0)
    assert store.take("prod-1", "u", 3, 1, [], 1.0) == Taken(True, 1), "closing one is always possible"


def test_what_a_report_kept_comes_back_with_it_until_nothing_stands_on_its_round(store: Store, clock: Steady) -> None:
    kept = (KeptPacket(target=1, what=PacketRole.SENT, at_ms=1.5, data=b"\x45\0", port=22, copy=0, interface="eth0"),)
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
    clock.now += PACKETS_S
    store.forget([])
    assert held("R1") == [kept, ()], "it is not older"
    clock.now += 1
    store.forget(["R1", "of another day"])
    assert [held(name) for name in ("R1", "F", "R2")] == [[kept, ()], [kept], [(), ()]]
    clock.now += ROUNDS_S
    store.forget(["R1"])
    assert [spec.round for spec, _, _ in store.group_of("R1")] == ["R1", "F"]
    assert held("R1") == [kept, ()]
    assert store.group_of("R2") == []
    store.forget([])
    assert store.group_of("R1") == []


def test_a_follow_up_belongs_to_its_round(store: Store) -> None:
    store.start_round(SPEC, "R1", 1.0)
    follow = RoundSpec(**{**{f: getattr(SPEC, f) for f in SPEC.__dataclass_fields__}, "round": "R0"})
    store.start_round(follow, "R1", 2.0)
    store.take("prod-1", "s", 1, 1, [WitnessReport(round="R0", agent="prod-1", late=True)], 3.0)
    store.set_parts("R1", {"prod-1": Part(whole=True)})
    first, second = store.group_of("R0")
    assert (first[0].round, first[1], second[0].round) == ("R1", {"prod-1": Part(whole=True)}, "R0"), (
        "the main round comes first"
    )
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
    assert again.take("dev-1", "s", 1, 1, [report()], 2.0) == Taken(False, 1)
    again.close()


def test_findings_read_back_with_their_ports(store: Store) -> None:
    book = Estate().book
    ports = PortSet.of(range(1, 65536, 2))
    found = [
        replace(one, ports=ports, regions=(*one.regions, Region(one.regions[0].key, ICMP_CELL)))
        for one in book.findings
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
    with pytest.raises(StoreError, match="store.sqlite is of a newer segwatch: its schema version is 99"):
        Store(tmp_path)


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_a_clock_that_is_set_while_the_disk_is_full_is_made_up_for_when_there_is_room(
    store: Store, step_s: float
) -> None:
    store.start_round(SPEC, "R1", 10_000.0)
    store._db.execute("PRAGMA query_only = ON")
    store.clock_stepped(step_s)
    with pytest.raises(StoreError):
        store.shift_rounds()
    assert store.began("R1") == 10_000.0 + step_s
    with pytest.raises(StoreError):
        store.start_round(replace(SPEC, round="R2"), "R2", 10_100.0 + step_s)
    store._db.execute("PRAGMA query_only = OFF")
    assert store.began("R1") == 10_000.0 + step_s
    store.start_round(replace(SPEC, round="R3"), "R3", 10_200.0 + step_s)
    assert [store.began(name) - step_s for name in ("R1", "R3")] == [10_000.0, 10_200.0]
    store.clock_stepped(5.0)
    store.shift_rounds()
    assert [store.began(name) - step_s for name in ("R1", "R3")] == [10_005.0, 10_205.0], "once"
    assert store.began("R2") == 0.0
