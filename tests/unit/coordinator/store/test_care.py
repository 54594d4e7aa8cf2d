"""Checks, backups and restored stores, beside a writer."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import cli
from coordinator.store import Store, StoreError
from coordinator.store.care import backup, check, restore
from coordinator.store.schema import SCHEMA
from reachability.observation import SourceReport
from tests.support.sample import Estate

NOW = dt.datetime(2026, 11, 25, 10, 20, tzinfo=dt.UTC)


def filled(directory: Path, batches: int = 20) -> Store:
    store, sample = Store(directory), Estate()
    for number in range(1, batches + 1):
        store.take("dev-1", "s", number, 1, [SourceReport(round=f"R{number}", agent="dev-1")], 1.0)
    store.put_cells((key, sample.matrix.rows(key)) for key in sample.matrix)
    store.put_findings(sample.book.findings, sample.events)
    return store


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["store", *map(str, arguments)])


def test_a_check_reads_beside_the_writer_and_says_what_is_there(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store._db.execute("BEGIN IMMEDIATE")  # in the middle of a transaction
    done = run("check", "--state-dir", tmp_path, "-o", "json")
    store._db.execute("ROLLBACK")
    body = json.loads(done.stdout)
    assert (done.exit_code, body["ok"], body["problems"], body["schema"]) == (0, True, [], SCHEMA)
    assert (body["rows"]["reports"], body["rows"]["findings"], body["rows"]["spools"]) == (20, 1, 1)
    assert body["wal_bytes"] > 0
    text = run("check", "--state-dir", tmp_path)
    assert (text.exit_code, text.stdout.split()[0]) == (0, "SOUND")
    store.close()


def spoil_page(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'reports_round'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek(page * size - 60)
        file.write(b"\xff" * 60)


def spoil_value(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE reports SET body = x'28b52ffd00' WHERE id = 7")


def spoil_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"not a database, no more")


def spoil_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = -1")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_page, "malformed"),
        (spoil_value, "reports, row 7"),
        (spoil_head, "file is not a database"),
        (spoil_version, "its schema version is -1"),
    ],
)
def test_damage_is_found_and_named_and_no_backup_is_made_of_it(tmp_path: Path, spoil: object, said: str) -> None:
    state = tmp_path / "state"
    filled(state).close()
    assert callable(spoil)
    spoil(state / "store.sqlite")
    done = run("check", "--state-dir", state, "-o", "json")
    body = json.loads(done.stdout)
    assert (done.exit_code, body["ok"]) == (1, False)
    assert said in " ".join(body["problems"])
    text = run("check", "--state-dir", state)
    assert text.exit_code == 1
    assert text.stdout.startswith("DAMAGED")
    assert "segwatch store restore BACKUP" in text.stdout
    made = run("backup", tmp_path / "b", "--state-dir", state)
    assert made.exit_code == 2
    assert not (tmp_path / "b").exists()
    assert list(tmp_path.glob(".b*")) == []


def test_a_store_of_a_newer_segwatch_is_not_called_damaged(tmp_path: Path) -> None:
    filled(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")
    for words in (("check",), ("backup", tmp_path / "b")):
        done = run(*words, "--state-dir", tmp_path)
        assert (done.exit_code, done.stdout) == (2, "")
        assert (
            f"store.sqlite is of a newer segwatch: its schema version is 99, this one knows {SCHEMA}. Install that one"
            in done.stderr
        )


def test_a_store_that_is_not_there_is_said(tmp_path: Path) -> None:
    for arguments in (("check",), ("backup", tmp_path / "b")):
        done = run(*arguments, "--state-dir", tmp_path / "none")
        assert (done.exit_code, done.stdout) == (2, "")
        assert f"there is no store {tmp_path}/none/store.sqlite" in done.stderr
    assert run("restore", tmp_path / "b", "--state-dir", tmp_path).exit_code == 2


def test_a_backup_beside_the_writer_becomes_the_store_again(tmp_path: Path) -> None:
    state, file = tmp_path / "state", tmp_path / "it's a backup"
    store = filled(state)
    done = run("backup", file, "--state-dir", state, "-o", "json")
    assert done.exit_code == 0, done.stderr
    how = json.loads(done.stdout)["restore"]
    assert how == f"segwatch store restore '{tmp_path}/it'\"'\"'s a backup' --state-dir {state}"
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE((state / "store.sqlite").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name, "state"], "nothing lies beside it"
    for number in range(21, 31):
        store.take("dev-1", "s", number, 1, [SourceReport(round=f"R{number}", agent="dev-1")], 1.0)
    refused = run("restore", file, "--state-dir", state)
    assert refused.exit_code == 2
    assert "in use by another coordinator" in refused.stderr
    store.close()

    done = run("restore", file, "--state-dir", state, "-o", "json")
    assert done.exit_code == 0, done.stderr
    aside = Path(json.loads(done.stdout)["before"])
    assert check(aside).rows["reports"] == 30
    store = Store(state)
    assert len(store.findings()) == 1
    taken = store.take("dev-1", "s", 31, 31, [], 5.0)
    [lost] = taken.lost
    assert (lost.first, lost.last, lost.why, taken.acknowledged) == (21, 30, "gone", 31), (
        "and what is not in it is shown"
    )
    store.close()


def test_a_backup_goes_to_a_new_file_and_only_a_sound_one_comes_back(tmp_path: Path) -> None:
    state = tmp_path / "state"
    filled(state).close()
    made = backup(state, tmp_path / "b")
    assert made.rows["reports"] == 20
    with pytest.raises(StoreError, match="exists already"):
        backup(state, tmp_path / "b")
    spoil_value(tmp_path / "b")
    with pytest.raises(StoreError, match="is not a sound backup: reports, row 7"):
        restore(tmp_path / "b", state, NOW)
    assert check(state / "store.sqlite").ok
    with pytest.raises(StoreError, match="No such file or directory"):
        backup(state, tmp_path / "none" / "b")


def test_a_restore_that_a_full_disk_cuts_off_leaves_the_store_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    filled(state).close()
    backup(state, tmp_path / "b")
    before = (state / "store.sqlite").read_bytes()

    def full(_source: Path, target: Path) -> None:
        target.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("coordinator.store.care.shutil.copyfile", full)
    with pytest.raises(StoreError, match="No space left on device"):
        restore(tmp_path / "b", state, NOW)
    assert (state / "store.sqlite").read_bytes() == before
    assert not list(state.glob("*before*")) + list(state.glob(".*"))


def test_at_no_moment_of_a_restore_is_there_no_store(tmp_path: Path) -> None:
    """A coordinator that finds none begins an empty one without a word."""
    state = tmp_path / "state"
    filled(state).close()
    backup(state, tmp_path / "b")
    missing: list[str] = []

    def look(event: str, _arguments: object) -> None:
        if watching and event.startswith("os.") and not (state / "store.sqlite").exists():
            missing.append(event)

    watching = True
    sys.addaudithook(look)
    try:
        restore(tmp_path / "b", state, NOW)
    finally:
        watching = False
    assert missing == []


@pytest.mark.parametrize(("user", "given"), [(0, [(990, 991)] * 2), (1000, [])])
def test_a_store_that_root_restores_is_the_coordinators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, given: list[tuple[int, int]]
) -> None:
    state = tmp_path / "state"
    filled(state).close()
    backup(state, tmp_path / "b")
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr("coordinator.store.care.os.geteuid", lambda: user)
    monkeypatch.setattr("coordinator.store.care.owner_of", lambda _: (990, 991))
    monkeypatch.setattr("coordinator.store.care.os.fchown", lambda _, uid, gid: owners.append((uid, gid)))
    restore(tmp_path / "b", state, NOW)
    assert owners == given


def test_a_damaged_store_is_set_aside_with_its_log(tmp_path: Path) -> None:
    state = tmp_path / "state"
    filled(state).close()
    backup(state, tmp_path / "b")
    spoil_head(state / "store.sqlite")
    (state / "store.sqlite-wal").write_bytes(b"a log that belongs to the damaged one")
    made, aside = restore(tmp_path / "b", state, NOW)
    assert aside == state / "store.sqlite.before-20261125T102000Z"
    assert made.ok
    assert not (state / "store.sqlite-wal").exists()
    assert aside.read_bytes().startswith(b"not a database")
