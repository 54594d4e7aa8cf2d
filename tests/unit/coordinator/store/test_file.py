"""The store under kill -9 at any instruction, and on a disk that is full."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.store import Store, StoreError, Taken
from coordinator.store.care import check
from coordinator.store.schema import SCHEMA
from reachability.matrix import CellKey, Judged
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.vocabulary import RoundKind, Schedule
from tests.support.paths import ROOT
from tests.support.reports import report
from tests.support.sample import Estate

SPEC = RoundSpec(
    round="R", kind=RoundKind.NORMAL, schedule=Schedule.CYCLE, source="dev-1", source_environment="dev", destination="prod", targets=()
)  # fmt: skip


Rows = Iterator[tuple[CellKey, Sequence[tuple[PortSet, Judged]]]]


def write_for_ever(directory: Path, first: int, told: int) -> None:
    """As the coordinator does: a round, its batch, what comes of it; says which batch is acknowledged."""
    store = Store(directory)
    sample = Estate()
    rows = [(key, sample.matrix.rows(key)) for key in sample.matrix]
    for number in range(first, first + 100_000):
        store.start_round(replace(SPEC, round=f"R{number}"), f"R{number}", float(number))
        before = max(1, number - 1)
        store.take("dev-1", "s", before, 1, [report(before)], float(number))  # again: a duplicate
        taken = store.take("dev-1", "s", number, 1, [report(number)], float(number))
        os.write(told, taken.acknowledged.to_bytes(4, "big"))
        store.put_cells(rows[number % 7 :: 7])
        store.put_findings(sample.book.findings[: number % 2], sample.events)
        if number % 5 == 0:
            store.forget([])  # nothing is as old as that: not a report may go


def killed(directory: Path, first: int, after: int, more_s: float) -> int:
    """Let it write, and kill it some time after that many acknowledgements; the last that was told."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(out)
            write_for_ever(directory, first, into)
        finally:
            os._exit(1)
    os.close(into)
    told = 0
    with os.fdopen(out, "rb", buffering=0) as pipe:
        for _ in range(after):
            told = int.from_bytes(pipe.read(4) or b"", "big") or told
        if more_s:
            signal.sigtimedwait([], more_s)  # a place between two acknowledgements, at random
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "it ended by itself"
        while rest := pipe.read(4):
            told = int.from_bytes(rest, "big")
    return told


def survives(directory: Path, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    first = 1
    for _ in range(rounds):
        told = killed(directory, first, chance.randint(0, 8), chance.random() * 0.01)
        if (path := directory / "store.sqlite").exists() and path.stat().st_size:  # it may have been killed before that
            assert set(check(path).problems) <= {f"its schema version is 0, this segwatch knows 1 to {SCHEMA}"}
        store = Store(directory)
        assert check(path).ok
        held = store.take("dev-1", "s", 1, 1, [report(1)], 1.0)
        with closing(sqlite3.connect(directory / "store.sqlite")) as db:
            names = [name for (name,) in db.execute("SELECT round FROM reports ORDER BY id")]
        assert held.acknowledged >= told, "an acknowledged batch is gone"
        assert names == [f"R{number}" for number in range(1, held.acknowledged + 1)], "each exactly once"
        store.close()
        first = held.acknowledged + 1


def test_kill_9_at_any_moment_loses_nothing_that_was_acknowledged_and_doubles_nothing(tmp_path: Path) -> None:
    survives(tmp_path, 15, random.randrange(2**32))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_kill_9_three_hundred_times(tmp_path: Path) -> None:
    survives(tmp_path, 300, random.randrange(2**32))


def test_of_what_failed_half_way_nothing_is_there(tmp_path: Path) -> None:
    sample = Estate()

    def half() -> Rows:
        for key in sample.matrix:
            yield key, sample.matrix.rows(key)
        raise ZeroDivisionError

    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError):
        store.put_cells(half())
    assert store.cells() == []
    store.put_cells((key, sample.matrix.rows(key)) for key in sample.matrix)
    assert store.cells() != [], "and the next is written as ever"


def test_a_full_disk_takes_a_batch_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sample = Estate()
    assert store.take("dev-1", "s", 1, 1, [report(1)], 1.0) == Taken(True, 1)
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    noise = replace(report(2), problems=(os.urandom(50_000).hex(),))
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be written: database or disk is full. Free space there"):
            store.take("dev-1", "s", 2, 1, [noise], 1.0)
    with pytest.raises(StoreError, match="full"):
        store.start_round(replace(SPEC, run=os.urandom(50_000).hex()), "R", 1.0)
    with pytest.raises(StoreError, match="full"):
        store.put_cells((key, sample.matrix.rows(key)) for key in sample.matrix)
    assert store.take("dev-1", "s", 1, 1, [report(1)], 1.0) == Taken(False, 1), "2 is not acknowledged"
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert store.take("dev-1", "s", 2, 1, [noise], 1.0) == Taken(True, 2)
    store.close()
    found = check(tmp_path / "store.sqlite")
    assert (found.problems, found.rows["reports"], found.rows["cells"]) == ((), 2, 0)


@pytest.mark.parametrize(
    ("free", "says"), [(4096, "Free space there"), (50 * 2**20, "Move it away to begin anew, or restore a backup")]
)
def test_where_sqlite_says_io_error_on_a_full_disk_it_is_called_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, says: str
) -> None:
    """SQLite says so where the index of its log, or a quota, has no room; nobody is to move a sound store away for that."""

    def failing(_: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
        raise error

    monkeypatch.setattr("coordinator.store.file.File._prepare", failing)
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr("coordinator.store.file.shutil.disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match=f"disk I/O error.*{says}") as caught:
        Store(tmp_path)
    assert ("the disk is full" in str(caught.value)) is (free == 4096)


ON_A_SMALL_DISK = """
import os, sys
from pathlib import Path
from coordinator.store import Store, StoreError
from coordinator.store.care import check
from tests.support.reports import report

where = Path(sys.argv[1])
ballast = where / "ballast"
ballast.write_bytes(bytes(600_000))
store = Store(where / "state")
acknowledged, failures = 0, []
for number in range(1, 5000):
    try:
        acknowledged = store.take("dev-1", "s", number, 1, [report(number, 400)], 1.0).acknowledged
    except StoreError as error:
        failures.append(str(error))
        break
assert failures and "full" in failures[0], failures
full_at = number
for _ in range(3):
    try:
        assert store.take("dev-1", "s", full_at, 1, [report(full_at, 400)], 1.0).acknowledged >= full_at
    except StoreError:
        pass
ballast.unlink()
for number in range(full_at, full_at + 20):
    acknowledged = store.take("dev-1", "s", number, 1, [report(number, 400)], 1.0).acknowledged
assert acknowledged == full_at + 19
store.close()
found = check(where / "state" / "store.sqlite")
assert found.ok, found.problems
assert found.rows["reports"] == acknowledged, (found.rows, acknowledged)
print("held", acknowledged)
"""


def test_a_small_disk_that_fills_up_and_is_freed(tmp_path: Path) -> None:
    mounted = 'mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-Urm", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, ON_A_SMALL_DISK]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("held ")
