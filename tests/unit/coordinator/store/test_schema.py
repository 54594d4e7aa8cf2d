"""Stores of earlier versions, as coordinators of those versions left them on a disk, are brought forward and read back.

`stores/schema-N.sqlite.zst` are such files, cut down to some rounds and cells. What is in them is read here without the
product's code, and compared with what the product says of the migrated file.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from coordinator.store import Store, Taken
from coordinator.store.retention import ROUNDS_S
from coordinator.store.schema import MIGRATIONS, SCHEMA, migrate, version_of
from reachability.observation import SourceReport
from reachability.ports import PortSet
from wire.codec import encode

STORES = Path(__file__).with_name("stores")
EARLIER = range(1, SCHEMA)


def old(version: int, directory: Path) -> Path:
    path = directory / "store.sqlite"
    path.write_bytes(zstandard.decompress((STORES / f"schema-{version}.sqlite.zst").read_bytes()))
    return path


def raw(path: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as db:
        rows = db.execute(query).fetchall()
    db.close()
    return rows


def unpacked(body: bytes) -> Any:
    """As version 3 has it, what is large is compressed."""
    return msgspec.msgpack.decode(zstandard.decompress(body) if body[:4] == zstandard.FRAME_HEADER else body)


def plain(value: Any) -> Any:
    """As msgpack has it: lists, maps, text; what an earlier version did not have yet left out."""
    return msgspec.msgpack.decode(encode(value))


def holds(now: Any, before: Any) -> bool:
    """Whether all that was there is there."""
    if isinstance(before, dict) and before.keys() == {"ranges"}:  # ports of a finding
        return bool(now == str(PortSet.from_ranges(before["ranges"])))
    if isinstance(before, dict):
        return all(key in now and holds(now[key], value) for key, value in before.items())
    if isinstance(before, list):
        return len(now) == len(before) and all(holds(a, b) for a, b in zip(now, before, strict=True))
    return bool(now == before) or (before is None and now == "")  # ICMP's one cell


@pytest.mark.parametrize("version", EARLIER)
def test_everything_in_an_earlier_store_reads_back(tmp_path: Path, version: int) -> None:
    path = old(version, tmp_path)
    assert raw(path, "PRAGMA user_version") == [(version,)]
    counts = {
        table: raw(path, f"SELECT COUNT(*) FROM {table}")[0][0] for table in ("rounds", "reports", "cells", "events")
    }
    assert min(counts.values()) > 0
    bodies = [unpacked(body) for (body,) in raw(path, "SELECT body FROM reports ORDER BY id")]
    specs = {name: unpacked(spec) for name, spec in raw(path, "SELECT round, spec FROM rounds")}
    [(found,)] = raw(path, "SELECT body FROM findings")
    finding = msgspec.msgpack.decode(found)
    spools = raw(path, "SELECT agent, spool, acknowledged FROM spools")
    packets = dict(raw(path, "SELECT report, body FROM packets")) if version > 1 else {}

    store = Store(tmp_path)
    assert raw(path, "PRAGMA user_version") == [(SCHEMA,)]
    assert raw(path, "PRAGMA auto_vacuum") == [(2,)], "it can give room back from now on"
    groups = {name: store.group_of(name) for name in specs}
    for name, spec in specs.items():
        [now] = [one for one, _, _ in groups[name] if one.round == name]
        assert holds(plain(now), spec)
    reports = [report for group in groups.values() for spec, _, held in group for report, _ in held]
    read = {encode(report) for report in reports}
    assert len(read) == counts["reports"] == len(bodies)
    for body in bodies:
        assert sum(holds(plain(report), {**body, "kept": plain(report)["kept"]}) for report in reports) >= 1
    assert any(isinstance(report, SourceReport) and report.observations for report in reports)
    kept = [report.kept for group in [list(g) for g in groups.values()] for _, _, held in group for report, _ in held]
    assert sum(map(bool, kept)) >= len(packets)
    [now_found] = store.findings()
    assert (now_found.id, now_found.status.value) == (finding["id"], "acknowledged")
    assert (now_found.acknowledged_by, now_found.addresses) == ("ada", tuple(finding["addresses"]))
    assert len(store.events()) == counts["events"]
    assert len(store.cells()) == counts["cells"]
    assert all(judged.verdict.row > 0 for _, _, judged in store.cells())
    assert set(store.get("addresses", dict[str, tuple[str, ...]], {})) == {agent for agent, _, _ in spools}
    for agent, spool, acknowledged in spools:
        assert store.take(agent, spool, acknowledged, 1, [], 1.0) == Taken(False, acknowledged), "no report comes twice"
        assert store.take(agent, spool, acknowledged + 1, 1, [], 1.0) == Taken(True, acknowledged + 1)
    store.close()
    Store(tmp_path).close()


def test_the_losses_of_an_earlier_store_stay_counted(tmp_path: Path) -> None:
    old(3, tmp_path)
    store = Store(tmp_path)
    [gap] = store.gaps()
    assert (gap.agent, gap.first, gap.last, gap.reports, gap.why) == ("dev-1", 5, 6, 2, "bytes")
    store.close()


@pytest.mark.parametrize("version", EARLIER)
def test_what_an_earlier_store_holds_is_as_new_by_historys_own_clock(tmp_path: Path, version: int) -> None:
    path, now = old(version, tmp_path), 1e9
    count = raw(path, "SELECT COUNT(*) FROM reports")
    store = Store(tmp_path, steady=lambda: now, boot="b")
    now += ROUNDS_S
    store.forget([])
    assert raw(path, "SELECT COUNT(*) FROM reports") == count
    now += 1
    store.forget([])
    assert raw(path, "SELECT COUNT(*) FROM reports") == [(0,)]
    store.close()


@pytest.mark.parametrize("version", [1, 2])
def test_batches_that_an_earlier_version_held_above_a_hole_stay_held(tmp_path: Path, version: int) -> None:
    path = old(version, tmp_path)
    [(spool, agent, acknowledged), *_] = raw(path, "SELECT * FROM spools")
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO batches VALUES (?, ?)", (spool, acknowledged + 2))
    db.close()
    store = Store(tmp_path)
    assert store.take(agent, spool, acknowledged + 2, 1, [], 1.0) == Taken(False, acknowledged)
    assert store.take(agent, spool, acknowledged + 1, 1, [], 1.0) == Taken(True, acknowledged + 2)
    store.close()


@pytest.mark.parametrize("version", EARLIER)
def test_a_migration_that_is_cut_off_leaves_the_version_before(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = old(version, tmp_path)
    broken = (*MIGRATIONS[:version], MIGRATIONS[version] + "SELECT no_such_function();", *MIGRATIONS[version + 1 :])
    monkeypatch.setattr("coordinator.store.schema.MIGRATIONS", broken)
    db = sqlite3.connect(path, isolation_level=None)
    before = db.execute("SELECT * FROM sqlite_schema ORDER BY name").fetchall()
    with pytest.raises(sqlite3.OperationalError, match="no_such_function"):
        migrate(db)
    assert (version_of(db), db.in_transaction) == (version, False)
    assert db.execute("SELECT * FROM sqlite_schema ORDER BY name").fetchall() == before
    monkeypatch.undo()
    migrate(db)
    assert version_of(db) == SCHEMA
    db.close()
