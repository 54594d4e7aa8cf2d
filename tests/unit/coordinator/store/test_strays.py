"""What is reported of rounds that the store does not know is in it once, or in a gap; and an agent fills no disk with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.store import Losses, Store, Taken
from coordinator.store.held import packed
from coordinator.store.retention import ROUNDS_S
from coordinator.store.spools import NEVER_SENT
from reachability.observation import SourceReport
from reachability.round_data import RoundSpec
from reachability.vocabulary import RoundKind, Schedule

MOST = 3


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.store.strays.MOST_REPORTS", MOST)


def report(name: str, agent: str = "dev-1", text: str = "") -> SourceReport:
    return SourceReport(round=name, agent=agent, problems=(text,))


def begin(store: Store, *names: str) -> None:
    for name in names:
        spec = RoundSpec(
            round=name, kind=RoundKind.NORMAL, schedule=Schedule.CYCLE, source="dev-1", source_environment="dev",
            destination="prod", targets=(),
        )  # fmt: skip
        store.start_round(spec, name, 1.0)


def held(store: Store, agent: str = "dev-1") -> list[str]:
    return [name for (name,) in store._db.execute("SELECT round FROM reports WHERE agent = ? ORDER BY id", (agent,))]


def test_what_is_beyond_the_most_of_an_agent_is_a_gap_of_its_own_and_nobody_elses(store: Store) -> None:
    begin(store, "R")
    for number in range(1, MOST + 1):
        assert store.take("dev-1", "s", number, 1, [report(f"X{number}")], 1.0) == Taken(True, number)
    taken = store.take("dev-1", "s", 4, 1, [report("X4"), report("R"), report("X5")], 2.0, now=3.0)
    [gap] = taken.lost
    assert (taken.new, taken.acknowledged, taken.set_back) == (True, 4, False)
    assert (gap.agent, gap.spool, gap.first, gap.last, gap.batches, gap.reports) == ("dev-1", "s", 4, 4, 1, 2)
    assert (gap.since, gap.until, gap.noticed, gap.why) == (2.0, 2.0, 3.0, "unknown")
    assert held(store) == ["X1", "X2", "X3", "R"], "what it was asked for counts all the same"
    assert store.gaps() == [gap]
    store.take("prod-1", "t", 1, 1, [report("X1", "prod-1")], 1.0)
    assert held(store, "prod-1") == ["X1"]
    assert store.losses() == {"dev-1": Losses(1, 2, 2.0, 2.0, "unknown")}


def test_a_batch_that_comes_again_is_counted_no_second_time(store: Store) -> None:
    whole = [report(f"X{number}") for number in range(MOST + 2)]
    assert [gap.reports for gap in store.take("dev-1", "s", 1, 1, whole, 1.0).lost] == [2]
    for _ in range(2):
        assert store.take("dev-1", "s", 1, 1, whole, 1.0) == Taken(False, 1)
    assert len(held(store)) == MOST
    assert store.losses()["dev-1"].reports == 2


def test_one_from_a_spool_that_was_set_back_is_counted_where_it_comes_again(store: Store) -> None:
    """Under the spool's other id; until then it is neither stored nor lost."""
    for number in range(1, MOST + 1):
        store.take("dev-1", "s", number, 1, [report(f"X{number}")], 1.0)
    begin(store, "R")
    mixed = [report("R"), report("N2")]
    assert store.take("dev-1", "s", 2, 1, mixed, 1.0) == Taken(True, NEVER_SENT, set_back=True)
    assert store.take("dev-1", "s", 2, 1, mixed, 1.0) == Taken(False, NEVER_SENT, set_back=True), "no round hears twice"
    assert store.gaps() == []
    [gap] = store.take("dev-1", "new", 1, 1, mixed, 1.0).lost
    assert (gap.spool, gap.reports) == ("new", 1)
    assert held(store).count("R") == 1


def test_bytes_are_bounded_as_well(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    most = sum(len(packed(report("X1", text=text)).body) for text in ("a" * 200, ""))
    monkeypatch.setattr("coordinator.store.strays.MOST_BYTES", most)
    assert store.take("dev-1", "s", 1, 1, [report("X1", text="a" * 200)], 1.0).lost == ()
    assert [gap.reports for gap in store.take("dev-1", "s", 2, 1, [report("X2", text="b" * 200)], 1.0).lost] == [1]
    assert store.take("dev-1", "s", 3, 1, [report("X3")], 1.0).lost == ()
    assert held(store) == ["X1", "X3"]


def test_a_disk_that_is_full_has_neither_the_reports_nor_the_gap(store: Store) -> None:
    whole = [report(f"X{number}") for number in range(MOST + 1)]
    store._db.execute("PRAGMA query_only = ON")
    with pytest.raises(Exception, match="cannot be written"):
        store.take("dev-1", "s", 1, 1, whole, 1.0)
    store._db.execute("PRAGMA query_only = OFF")
    assert (held(store), store.gaps()) == ([], [])
    assert store.take("dev-1", "s", 1, 1, whole, 1.0).new


def test_there_is_room_again_once_they_are_old(tmp_path: Path) -> None:
    now = 0.0
    store = Store(tmp_path, steady=lambda: now)
    for number in range(1, MOST + 2):
        store.take("dev-1", "s", number, 1, [report(f"X{number}")], 1.0)
    assert len(held(store)) == MOST
    now += ROUNDS_S + 1
    store.forget([])
    assert store.take("dev-1", "s", 5, 1, [report("X5")], 1.0) == Taken(True, 5)
    assert held(store) == ["X5"]
    assert store.losses()["dev-1"].reports == 1
    store.close()


def test_a_round_that_is_forgotten_makes_no_strays_of_what_was_reported_of_it(store: Store) -> None:
    names = [f"R{number}" for number in range(MOST + 1)]
    begin(store, *names)
    store.take("dev-1", "s", 1, 1, [report(name) for name in names], 1.0)
    store._db.execute("DELETE FROM rounds")
    assert store.take("dev-1", "s", 2, 1, [report("X1")], 1.0) == Taken(True, 2)
