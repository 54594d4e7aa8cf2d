"""History's own clock: what counts as time that has passed, and what does not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from coordinator.store.ageing import Ageing, boot_id
from coordinator.store.schema import migrate


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        migrate(made)
        yield made


def at(db: sqlite3.Connection, steady: float, boot: str) -> float:
    """The age that one sees that starts then; it writes it down."""
    made = Ageing(db, lambda: steady, boot)
    made.keep()
    return made()


def test_it_goes_on_while_the_machine_is_on_whoever_runs(db: sqlite3.Connection) -> None:
    assert at(db, 5000.0, "a") == 0.0
    assert at(db, 5060.0, "a") == 60.0


def test_the_time_off_and_another_machines_do_not_count(db: sqlite3.Connection) -> None:
    at(db, 5000.0, "a")
    at(db, 5060.0, "a")
    assert at(db, 9e9, "b") == 60.0, "that long it is on, and the store was not there"
    assert at(db, 9e9 + 1.0, "b") == 61.0
    assert at(db, 7.0, "b") == 61.0
    assert (at(db, 8.0, ""), at(db, 9.0, "")) == (61.0, 61.0), "where nobody says which boot it is"


def test_it_never_goes_back(db: sqlite3.Connection) -> None:
    times = [100.0, 100.0, 130.0, 20.0, 25.0]
    made = Ageing(db, lambda: times.pop(0), "a")
    assert [made() for _ in range(4)] == [0.0, 30.0, 30.0, 35.0]


def test_the_kernel_says_which_boot_it_is() -> None:
    assert len(boot_id()) == 36
