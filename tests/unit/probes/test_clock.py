"""The two clocks beside each other, when others take the processor in between."""

from __future__ import annotations

import time

import pytest

from probes import clock


def test_of_some_looks_at_both_clocks_the_one_counts_that_was_interrupted_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # monotonic, wall, monotonic; the wall clock is 1000 s ahead
    looks = iter(
        [1.0, 1001.04, 1.04, 2.0, 1002.0004, 2.0008, 3.0, 1003.02, 3.02, 4.0, 1004.03, 4.03, 5.0, 1005.01, 5.05]
    )
    monkeypatch.setattr(time, "monotonic", lambda: next(looks))
    monkeypatch.setattr(time, "time", lambda: next(looks))
    found = clock.ahead()
    monkeypatch.undo()
    assert found == pytest.approx(1000, abs=0.0005)
    assert next(looks, None) is None


def test_a_look_that_was_not_interrupted_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([1.0, 1001.0, 1.00002, 2.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(looks))
    monkeypatch.setattr(time, "time", lambda: next(looks))
    found = clock.ahead()
    monkeypatch.undo()
    assert found == pytest.approx(1000, abs=0.0001)
    assert next(looks) == 2.0
