"""When a round began, as the loop reads it while a thread writes down that the clock was set."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import pytest

from coordinator.store import Store
from reachability.round_data import RoundSpec
from reachability.vocabulary import RoundKind, Schedule

SPEC = RoundSpec(
    round="R1", kind=RoundKind.NORMAL, schedule=Schedule.CYCLE, source="dev-1", source_environment="dev", destination="prod",
    targets=(),
)  # fmt: skip


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_it_is_shifted_once_before_the_commit_and_after_it(store: Store, step_s: float) -> None:
    store.start_round(SPEC, "R1", 10_000.0)
    writing, seen = store._file.writing, list[float]()

    @contextlib.contextmanager
    def watched() -> Iterator[sqlite3.Connection]:
        with writing() as db:
            yield db
            seen.append(store.began("R1"))
        seen.append(store.began("R1"))

    store.clock_stepped(step_s)
    store._file.writing = watched  # type: ignore[method-assign]
    store.shift_rounds()
    assert [*seen, store.began("R1")] == [10_000.0 + step_s] * 3
