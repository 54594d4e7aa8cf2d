"""The ledger and the eyes on the matrix find what they are there for."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.losses import Drop
from agent.spool import MOST_BYTES, Spool
from coordinator.store import Gap, Store
from reachability.observation import SourceReport
from tests.chaos import ledger, plan
from tests.chaos.greens import Hole, Verdicts
from tests.lab.truth import Rule

REPORT = SourceReport(round="R1", agent="dev-1")


class Books:
    """A spool and a store with their triggers, and what was put and taken."""

    def __init__(self, directory: Path, most_bytes: int = MOST_BYTES) -> None:
        self.spool_file, self.state = directory / "spool.sqlite", directory / "state"
        ledger.main(["spool", str(self.spool_file)])
        ledger.main(["store", str(self.state)])
        self.spool = Spool(self.spool_file, most_bytes=most_bytes)
        self.store = Store(self.state)
        for _ in range(4):
            self.spool.put(sources=(REPORT,))

    def take(self, sequence: int, gaps: Sequence[Gap] = (), oldest: int = 1) -> None:
        """As the receiver does."""
        self.store.take("dev-1", self.spool.id, sequence, oldest, [REPORT], 0.0, gaps=gaps)

    def balance(self, capsys: pytest.CaptureFixture[str]) -> ledger.Balance:
        """Both sides, read as the run does."""
        self.store.close()
        self.spool.close()
        ledger.main(["recorded", str(self.spool_file)])
        recorded = ledger.recorded("dev-1", json.loads(capsys.readouterr().out))
        ledger.main(["taken", str(self.state / "store.sqlite")])
        return ledger.balance([recorded], ledger.taken(json.loads(capsys.readouterr().out)))


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


def test_what_is_taken_once_or_waits_is_in_order(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    for sequence in (1, 2, 2, 3, 1):
        books.take(sequence)
    balance = books.balance(capsys)
    assert (balance.recorded, balance.taken, balance.waiting, balance.wrong) == (4, 3, 1, [])


def test_a_batch_that_is_nowhere_is_found(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    books.take(1)
    with sqlite3.connect(books.spool_file) as database:
        database.execute("DELETE FROM batch WHERE sequence = 3")
    balance = books.balance(capsys)
    assert [line for line in balance.wrong if "in no store, spool or gap" in line and "1 in all" in line]


def test_what_a_full_spool_dropped_is_in_a_counted_gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    books = Books(tmp_path, most_bytes=1)
    books.take(
        4, (Gap(spool=books.spool.id, first=1, last=3, batches=3, reports=3, since=1.0, until=2.0, why="bytes"),)
    )
    balance = books.balance(capsys)
    assert (balance.recorded, balance.taken, balance.gap, balance.wrong) == (4, 1, 3, [])


def test_what_the_disk_did_not_take_is_in_a_counted_gap(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    books.spool.lose(Drop.DISK)
    for sequence in range(1, 5):
        books.take(sequence)
    balance = books.balance(capsys)
    assert (balance.recorded, balance.taken, balance.gap, balance.wrong) == (4, 4, 1, [])


def test_a_gap_that_the_spool_does_not_count_is_found(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    books.take(1)
    books.take(4, oldest=4)
    assert [line for line in books.balance(capsys).wrong if "the gaps are 2" in line]


def test_a_batch_that_was_taken_twice_is_found(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        books.take(1)
        books.store.close()
        with sqlite3.connect(books.state / "store.sqlite") as database:  # as if it was new
            database.execute("UPDATE spools SET acknowledged = 0")
        books.store = Store(books.state)
    assert [line for line in books.balance(capsys).wrong if "no batch that was new" in line]


def test_a_batch_that_nobody_recorded_and_a_report_too_many_are_found(
    books: Books, capsys: pytest.CaptureFixture[str]
) -> None:
    books.take(9)
    books.take(1)
    with sqlite3.connect(books.state / "store.sqlite") as database:
        database.execute(
            "INSERT INTO reports (round, agent, kind, received, body) VALUES ('R', 'dev-2', 'source', 0, x'')"
        )
    balance = books.balance(capsys)
    assert [line for line in balance.wrong if "no agent recorded it" in line]
    assert [line for line in balance.wrong if "left the reports ['dev-1', 'dev-2']" in line]


RULE = Rule("10.10.0.0/24", "10.30.0.10", "tcp", 100, 200, "accept")


def cell(at: str, result: str = "pass", ports: str | None = "22,90-120", **more: str) -> dict[str, Any]:
    return {
        "agent": "dev-1", "source_address": "10.10.0.10", "address": "10.30.0.10", "protocol": "tcp", "ports": ports,
        "declared": "denied", "result": result, "reachability": "blocked", "proof": "witnessed", "row": 15,
        "reason": "no-response", "observed_at": f"1970-01-01T00:{at}Z", **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "asked", "greens", "reds"),
    [
        (cell("01:40"), 110.0, 0, 0),  # on evidence from before: stands until it is stale
        (cell("01:43"), 110.0, 1, 0),
        (cell("01:43"), 140.0, 0, 0),  # it may have been closed in the course of the round
        (cell("01:43", ports="22"), 110.0, 0, 0),
        (cell("01:43", declared="allowed"), 110.0, 0, 0),
        (cell("01:43", "fail"), 110.0, 0, 0),
        (cell("01:43", "fail"), 140.0, 0, 0),
        (cell("02:11", "fail"), 140.0, 0, 1),
        (cell("01:43", "fail", source_address="10.20.0.10"), 110.0, 0, 1),
    ],
)
def test_a_false_green_and_a_false_red_are_found(shown: dict[str, Any], asked: float, greens: int, reds: int) -> None:
    verdicts = Verdicts([Hole(RULE, 101.0, 102.0, 130.0, 130.1)])
    verdicts.look([shown], asked, asked + 0.1)
    assert (len(verdicts.false_greens), len(verdicts.false_reds)) == (greens, reds)


def test_a_seed_is_a_plan() -> None:
    first, again = (plan.faults(random.Random(7), 110, gap_s=9, most_s=60) for _ in range(2))
    assert first == again
    assert first != plan.faults(random.Random(8), 110, gap_s=9, most_s=60)
    assert {fault.kind for fault in first} == {kind.name for kind in plan.KINDS}
    for held in {(fault.kind, fault.target) for fault in first}:
        mine = [fault for fault in first if (fault.kind, fault.target) == held]
        assert all(a.at_s + a.for_s < b.at_s for a, b in zip(mine, mine[1:], strict=False))
