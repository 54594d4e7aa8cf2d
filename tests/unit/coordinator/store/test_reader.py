"""A store read from another process, beside its writer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.store import Store, StoreError
from coordinator.store.reader import as_json, reading
from reachability.observation import SourceReport
from reachability.round_data import RoundSpec
from reachability.vocabulary import RoundKind, Schedule
from tests.support.sample import Estate

SPEC = RoundSpec(
    round="R1",
    kind=RoundKind.NORMAL,
    schedule=Schedule.CYCLE,
    source="dev-1",
    source_environment="dev",
    destination="prod",
    targets=(),
)


def test_it_reads_what_the_store_reads_beside_it(tmp_path: Path) -> None:
    store, estate = Store(tmp_path), Estate()
    for number, main in ((1, "R1"), (2, "R1"), (3, "R3")):
        store.start_round(replace(SPEC, round=f"R{number}"), main, float(number))
    store.take("dev-1", "s", 1, 1, [SourceReport(round="R1", agent="dev-1")], 10.0)
    store.put_findings(estate.book.findings, estate.events)
    with reading(tmp_path / "store.sqlite") as reader:
        assert reader.group_of("R2") == store.group_of("R2")
        assert [held.spec.round for held in reader.group_of("R2")] == ["R1", "R2"]
        assert reader.group_of("none") == []
        assert (reader.main_of("R2"), reader.main_of("none")) == ("R1", "")
        assert (reader.newest(5), reader.newest(1)) == (["R3", "R1"], ["R3"])
        assert reader.findings() == store.findings()
        assert reader.events() == store.events()[::-1]
        (found, *_) = as_json(reader.findings())
        assert isinstance(found["regions"][0]["ports"], str), "a set of ports is a text"
    store.close()
    with reading(tmp_path / "store.sqlite") as reader:
        assert reader.newest(5) == ["R3", "R1"]


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"), reading(tmp_path / "store.sqlite"):
        pass
    store = Store(tmp_path)
    store._db.execute("INSERT INTO findings VALUES ('F-1', x'c1', 0)")
    store.close()
    with pytest.raises(StoreError, match="the store cannot be read"), reading(tmp_path / "store.sqlite") as reader:
        reader.findings()
    (tmp_path / "store.sqlite").write_bytes(b"nothing like it")
    with pytest.raises(StoreError, match="cannot be read"), reading(tmp_path / "store.sqlite") as reader:
        reader.newest(1)
