"""Another topology is judged by what was observed, in words where it cannot be, and nothing is sent, stored or changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from coordinator.api.auth import ApiError
from coordinator.api.proposed import what_if
from coordinator.api.responses.runs import FinishedRun
from coordinator.state.planning import Plan, plan_of
from coordinator.store import Store
from coordinator.topology.document import Problem
from coordinator.topology.load import TopologyErrors
from reachability.life import Status
from reachability.topology import Selector, Waiver
from reachability.vocabulary import Schedule
from reachability.what_if import Supposed
from tests.support.rounds import ANSWERED, TOPOLOGY, World
from tests.support.sample import AGENTS, NOW, Estate, topology
from tests.support.virtual import run

ALLOWED = TOPOLOGY.decode() + "paths: [{name: all, from: dev, to: prod, expect: allowed}]\n"
REQUIRED = ALLOWED.replace("allowed", "required")
NEWCOMER = TOPOLOGY.decode().replace(
    "agents: {test-1: {addresses: [10.20.0.10]}}", "agents: {test-2: {addresses: [10.20.0.11]}}"
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = Store(tmp_path / "state")
    yield World(store)
    store.close()


@pytest.fixture
def seen(world: World) -> World:
    """Everything was tried, and is closed."""
    world.controls = (ANSWERED,)
    for agent in ("dev-1", "test-1", "prod-1"):
        run(
            world.engine.cycle(
                agent, tuple({"dev", "test", "prod"} - {world.estate.agents[agent].environment}), Schedule.CYCLE
            )
        )
    return world


def asked(text: str, **more: Any) -> what_if.Asked:
    return what_if.asked_of({"topology": text, "file": "new.yaml", **more})


def judged(world: World, asked: what_if.Asked) -> what_if.Judged:
    return what_if.judge(world.estate, asked, plan_of(asked.topology, world.estate.known(asked.topology)))


def body(world: World, text: str, **more: Any) -> FinishedRun:
    return what_if.body_of(judged(world, asked(text, **more)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "`topology` is the text of a topology file"),
        ({"topology": 1}, "`topology` is the text of a topology file"),
        ({"topology": TOPOLOGY.decode(), "file": None}, "`topology` is the text of a topology file"),
        ({"topology": "version: 2\nenvironments: {}\n", "file": "a.yaml"}, "a.yaml:1:10: "),
        ({"topology": "\ud800"}, "byte 0xed is not UTF-8"),
        (
            {"topology": TOPOLOGY.decode(), "file": "a.yaml", "from": "x"},
            "a.yaml has no environment 'x'; it has: dev, test, prod",
        ),
        ({"topology": TOPOLOGY.decode(), "to": []}, "has no environment"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ApiError) as refused:
        what_if.asked_of(given)
    assert said in str(refused.value)
    assert refused.value.status == 400


def test_nothing_is_judged_where_nothing_was_observed(world: World) -> None:
    with pytest.raises(ApiError, match=r"nothing of what new\.yaml asks for was observed under the topology in force"):
        judged(world, asked(ALLOWED))


def test_the_same_topology_comes_to_the_same(seen: World) -> None:
    found = body(seen, TOPOLOGY.decode())
    assert found.result.what_if
    assert (found.result.what_if.changes, found.result.summary.fail) == ((), 0)
    assert found.result.coverage == found.coverage.coverage
    assert found.result.what_if.newest is not None


def test_what_would_fail_is_said_with_its_line_and_no_finding_opens(seen: World) -> None:
    before = (seen.estate.book.findings, seen.estate.topology, seen.estate.store.events(), len(seen.sent))
    cells = seen.estate.cells()
    found = body(seen, REQUIRED)
    assert found.result.result == "fail"
    assert found.result.what_if
    [change] = {(c.source, c.destination, c.before, c.after, c.path) for c in found.result.what_if.changes}
    assert change == ("dev", "prod", "pass", "fail", "all")
    assert [c.line for c in found.checks if c.path == "all"] == [7]
    assert {one.finding for one in found.failing} == {None}
    assert (seen.estate.book.findings, seen.estate.topology, seen.estate.store.events(), len(seen.sent)) == before
    assert seen.estate.cells() == cells


def test_what_nobody_observed_is_not_run_lowers_the_coverage_and_says_why(seen: World) -> None:
    found = body(seen, NEWCOMER)
    assert found.result.result == "inconclusive"
    assert 0 < found.coverage.coverage < 1
    from_there = [one for one in found.unproven if one.agents == ("test-2",)]
    assert {(one.result, one.settle) for one in from_there} == {("not-run", "put it in force, then `segwatch verify`")}
    assert {one.means.partition(":")[0] for one in from_there} == {"agent 'test-2' is not in the topology in force"}
    new_host = [one for one in found.unproven if one.address == "10.20.0.11"]
    assert {one.means for one in new_host} == {"no round has tried it"}
    assert [agent.name for agent in found.result.agents] == ["dev-1", "prod-1"]


def test_it_may_be_narrowed_and_has_its_cells_when_asked_for(seen: World) -> None:
    found = body(seen, REQUIRED, **{"from": "dev", "to": "test", "cells": True})
    assert found.result.cells
    assert {(cell.source, cell.destination) for cell in found.result.cells} == {("dev", "test")}
    assert found.result.what_if
    assert found.result.what_if.changes == ()


def test_a_finding_that_its_waiver_bears_no_more_fails() -> None:
    ends = (Selector("dev", environment="dev"), Selector("prod.model-registry", "prod", service="model-registry"))
    estate = Estate(waivers=(Waiver("W-1", *ends, None, "ada", "migration", NOW.replace(year=2027)),))
    [finding] = estate.book.findings
    plan, asked_for = estate.plan, what_if.Asked(topology=topology())
    judged = what_if.Judged(
        asked=asked_for, held=estate.topology, at=NOW.timestamp(), plan=plan, before=estate.cells,
        after=Supposed(estate.topology, asked_for.topology).cells(plan, estate.matrix, NOW),
        findings=estate.book.findings, agents=AGENTS,
    )  # fmt: skip
    found = what_if.body_of(judged).result
    assert finding.status is Status.WAIVED
    assert [(one.id, one.result) for one in found.findings] == [(finding.id, "fail")]
    assert found.what_if
    assert [(change.before, change.after) for change in found.what_if.changes] == [("waived", "fail")]


def test_a_plan_that_cannot_be_made_is_said(seen: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> Plan:
        raise TopologyErrors("new.yaml", [Problem(0, 0, "its plan cannot be made")])

    async def read() -> bytes:
        return json.dumps({"topology": ALLOWED}).encode()

    monkeypatch.setattr(what_if, "planned", fails)
    request: Any = SimpleNamespace(read=read)
    with pytest.raises(ApiError, match=r"^new\.yaml: its plan cannot be made$") as raised:
        run(what_if.answered(request, seen.estate))
    assert raised.value.status == 500


def test_it_is_answered_over_http(seen: World) -> None:
    sent = json.dumps({"topology": ALLOWED, "file": "new.yaml"}).encode()

    async def read() -> bytes:
        return sent

    request: Any = SimpleNamespace(read=read)
    response = run(what_if.answered(request, seen.estate))
    assert response.status == 200
    assert isinstance(response.body, bytes)
    told = msgspec.convert(json.loads(response.body), FinishedRun)
    assert told.result.what_if
    assert told.result.what_if.topology.file == "new.yaml"
