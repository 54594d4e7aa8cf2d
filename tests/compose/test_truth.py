"""What holds the matrix against the truth sees each way of being wrong, and a right one is not wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compose.truth import Estate, assert_held, held_against
from tests.lab.truth import CellId, Rule

LEAK = Rule("10.10.0.10", "10.30.0.21", "tcp", 5000, 5000, "accept")
OPEN: CellId = ("dev-1", "10.10.0.10", "10.30.0.21", "tcp", 5000)
CLOSED: CellId = ("dev-1", "10.10.0.10", "10.30.0.10", "tcp", 22)
GONE = ("10.30.0.10",)
BOUND = {("tcp", 5000, "10.30.0.21")}
PROVEN = {"reachability": "blocked", "state": "filtered", "result": "pass", "reason": "not-seen", "required": True}
LEAKING = {"reachability": "reachable", "state": "open", "result": "fail", "reason": "replied", "required": True}
UNPROVEN = {
    "reachability": "unknown",
    "state": "filtered",
    "result": "inconclusive",
    "reason": "silent",
    "required": True,
}


def right() -> dict[CellId, dict[str, Any]]:
    return {cell: LEAKING if cell == OPEN else PROVEN for cell in Estate().cells()}


def test_a_matrix_that_is_right_is_not_wrong() -> None:
    assert held_against(right(), Estate(), [LEAK], BOUND) == []


@pytest.mark.parametrize(
    ("cell", "entry", "says"),
    [
        (OPEN, PROVEN, "is open: pass, blocked"),
        (OPEN, UNPROVEN, "is open: inconclusive"),
        (OPEN, {**LEAKING, "state": "closed"}, "who listens there is another matter: closed"),
        (CLOSED, LEAKING, "is closed: fail, reachable"),
        (CLOSED, UNPROVEN, "is closed and unproven"),
        (CLOSED, None, "is missing"),
        (("dev-1", "10.10.0.10", "10.10.0.20", "tcp", 22), PROVEN, "is in no plan"),
    ],
)
def test_each_wrong_cell_is_named(cell: CellId, entry: dict[str, Any] | None, says: str) -> None:
    cells = right()
    if entry is None:
        del cells[cell]
    else:
        cells[cell] = entry
    (wrong,) = held_against(cells, Estate(), [LEAK], BOUND)
    assert wrong[0] == cell
    assert says in wrong[1]
    with pytest.raises(AssertionError) as failed:
        assert_held(cells, Estate(), [LEAK], BOUND, more=lambda _: ["logs"])
    assert str(failed.value).splitlines()[1].startswith(f"1 × {cell[0]} {cell[2]} tcp {wrong[1]} (the first: {cell}")
    assert str(failed.value).endswith("\nlogs")


def test_many_wrong_cells_fit_on_a_screen() -> None:
    cells = dict.fromkeys(right(), UNPROVEN)
    with pytest.raises(AssertionError) as failed:
        assert_held(cells, Estate(), [LEAK], BOUND)
    assert len(str(failed.value).splitlines()) <= 40


def test_a_host_that_stopped_may_not_be_green() -> None:
    cells = {cell: entry if cell[2] not in GONE else UNPROVEN for cell, entry in right().items()}
    assert held_against(cells, Estate(), [LEAK], BOUND, but=GONE) == []
    (wrong,) = held_against({**cells, CLOSED: PROVEN}, Estate(), [LEAK], BOUND, but=GONE)
    assert "its host has stopped" in wrong[1]
