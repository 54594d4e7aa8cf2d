"""Which lines of a topology decide a cell that is not as declared."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from coordinator.api.declared import declared
from coordinator.api.failing import decisions, failing
from coordinator.api.verify import of_run
from coordinator.api.views import finding_body
from coordinator.topology.load import parse_topology
from reachability.compare import Cell, compare, key_of
from reachability.finding import FindingBook
from reachability.matrix import Matrix
from reachability.plan import PlanTarget, build_plan
from reachability.ports import PortSet
from reachability.topology import Topology
from reachability.vocabulary import Result, State
from tests.support.answers import json_of
from tests.support.sample import evidence, judged

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TOPOLOGY = """\
version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
    agents: {dev-1: {addresses: [10.10.0.10]}}
  prod:
    networks: [10.30.0.0/24]
    agents: {prod-1: {addresses: [10.30.0.10]}}
    services:
      web: {hosts: [10.30.0.10], ports: [tcp/443]}
      db: {hosts: [10.30.0.21], ports: [tcp/5432]}
paths:
  - name: reads
    from: dev
    to: prod.web
    expect: required
waivers:
  - id: W-1
    from: dev
    to: prod.db
    expires: 2026-11-23T11:00:00Z
probing: {confirm: 1}
"""
FIRST_PATH, LAST_PATH, WAIVER, LAST, PROD = 13, 16, 18, 21, 6


def observed(text: str, **states: State) -> tuple[Topology, tuple[PlanTarget, ...], tuple[Cell, ...]]:
    """dev-1's cells of ports 22, 443 and 5432; a port's state is silence unless given as `tcp22`."""
    topology = parse_topology(text.encode())
    plan = tuple(t for t in build_plan(topology, {}, {}) if t.source_environment == "dev" and t.protocol == "tcp")
    matrix = Matrix()
    for target in plan:
        for port in (22, 443, 5432):
            state = states.get(f"tcp{port}", State.FILTERED)
            matrix.update(key_of(target), PortSet.of([port]), judged(evidence(target, state), f"R{port}", run=""))
    return topology, plan, compare(topology, plan, matrix, NOW, run="")


def decided(text: str, address: str, port: int, **states: State) -> Any:
    topology, plan, cells = observed(text, **states)
    cell = next(c for c in cells if c.key.address == address and c.ports & PortSet.of([port]))
    assert cell.result is Result.FAIL
    target = next(t for t in plan if key_of(t) == cell.key)
    return json_of(declared(topology, replace(cell, ports=PortSet.of([port])), target, str(port)))


def test_a_required_path_decides_by_its_own_lines() -> None:
    body = decided(TOPOLOGY, "10.30.0.10", 443)
    assert (body["path"], body["lines"], body["at"]) == ("reads", [FIRST_PATH, LAST_PATH], "topology.yaml:13")


def test_what_no_path_names_is_decided_by_all_of_them() -> None:
    body = decided(TOPOLOGY, "10.30.0.10", 22, tcp22=State.OPEN)
    assert (body["lines"], body["at"], body["ended"]) == ([FIRST_PATH, LAST_PATH], "topology.yaml:13-16", None)
    assert body["nearest"]["path"] == "reads"


def test_a_waiver_that_has_ended_decides() -> None:
    body = decided(TOPOLOGY, "10.30.0.21", 5432, tcp5432=State.OPEN)
    assert body["lines"] == [WAIVER, LAST]
    assert body["ended"] == {"id": "W-1", "line": WAIVER, "expires": "2026-11-23T11:00:00.000Z"}
    assert body["text"].endswith("; waiver 'W-1' ended on 2026-11-23")
    assert decided(TOPOLOGY, "10.30.0.21", 22, tcp22=State.OPEN)["ended"] is None, "it names another port"


def test_without_a_path_it_is_where_the_destination_begins() -> None:
    head, _, rest = TOPOLOGY.partition("paths:\n")
    body = decided(head + rest[rest.index("probing:") :], "10.30.0.21", 22, tcp22=State.OPEN)
    assert body["lines"] == [PROD, PROD]


def test_every_failing_cell_is_said_once_with_its_finding() -> None:
    text = TOPOLOGY.replace("  prod:\n", "  prod:\n    sensitivity: high\n")
    topology, plan, cells = observed(text, tcp22=State.OPEN, tcp5432=State.OPEN)
    book = FindingBook()
    book.apply(cells, NOW, 1)
    found = of_run(cells, book.findings)
    said = json_of(failing(topology, cells, found, "rest"))
    assert sorted((one["address"], one["path"], one["ports"]) for one in said) == [
        ("10.30.0.10", "reads", "443"),
        ("10.30.0.10", "rest", "22"),
        ("10.30.0.10", "rest", "5432"),
        ("10.30.0.21", "rest", "22"),
        ("10.30.0.21", "rest", "5432"),
    ]
    assert {one["finding"] for one in said} == {finding.id for finding in found}
    assert (
        {finding_body(topology, finding).severity for finding in found} == {one["severity"] for one in said} == {"high"}
    )
    assert set(decisions(topology, plan, cells, found)) == {finding.id for finding in found}
    alone = json_of(failing(topology, cells, [], "rest"))
    assert {(one["finding"], one["severity"]) for one in alone} == {(None, "high")}
