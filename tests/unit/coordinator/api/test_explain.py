"""What `explain` says of the cell that it shows."""

from __future__ import annotations

from dataclasses import replace

from coordinator.api import explain
from tests.support.answers import json_of
from tests.support.sample import Estate


def test_the_inside_control_is_the_one_that_was_made_and_not_the_one_that_the_plan_has_now() -> None:
    estate = Estate()
    shown = explain.find_cell(estate.plan, estate.cells, ("dev-1", "10.30.0.21", "tcp/5000"))
    assert shown.target is not None
    assert shown.cell.judged is not None
    made = shown.cell.judged.evidence.inside_by
    assert made
    planned = replace(shown, target=replace(shown.target, insides=("prod-9",)))
    assert json_of(explain.explain_cell(estate.topology, planned, estate.exchanges))["inside"] == made
    unseen = replace(planned, cell=replace(shown.cell, judged=None))
    assert json_of(explain.explain_cell(estate.topology, unseen, estate.exchanges))["inside"] == "prod-9"
