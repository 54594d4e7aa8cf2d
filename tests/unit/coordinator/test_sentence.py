"""The coordinator in one sentence: never a green one where nothing is proven."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.sentence import sentence
from coordinator.store import Store
from reachability.compare import Cell
from reachability.vocabulary import Result
from tests.support.rounds import World


def said(world: World, problem: str = "") -> str:
    return sentence(world.estate, problem)


def test_nothing_was_probed_yet(store: Store) -> None:
    world = World(store)
    world.online("dev-1", online=False)
    words = said(world)
    count = sum(cell.count for cell in world.estate.cells())
    assert words == f"2 of 3 agents here, no round yet: {count} cells, {count} not run"
    assert said(world, "the store cannot be written: full") == f"the store cannot be written: full; {words}"


def test_results_in_words(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(store)
    world.estate.agents["dev-1"] = replace(world.estate.agents["dev-1"], last_round=world.now - 150)
    cells = world.estate.cells()
    shown: tuple[Cell, ...] = tuple(replace(cell, result=Result.PASS) for cell in cells)
    monkeypatch.setattr(world.estate, "cells", lambda: shown)
    count = sum(cell.count for cell in cells)
    assert said(world) == f"3 of 3 agents here, last round 2 minutes ago: all {count} cells pass"
    shown = (replace(cells[0], result=Result.FAIL), replace(cells[1], result=Result.INCONCLUSIVE), *shown[2:])
    bad, unproven = cells[0].count, cells[1].count
    assert said(world).endswith(f": {count} cells, {bad} fail, {unproven} inconclusive")
    shown = ()
    assert said(world).endswith(": nothing to test")
