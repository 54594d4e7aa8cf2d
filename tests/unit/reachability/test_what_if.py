"""Under another topology what was observed counts only as far as it still says the same; what nobody saw is never green."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest

from reachability.compare import Cell, key_of
from reachability.matrix import Matrix
from reachability.plan import build_plan
from reachability.ports import PortSet
from reachability.topology import DeclaredAgent, Environment, Path, PortSpec, Probing, Selector, Topology
from reachability.vocabulary import Protocol, Result, State
from reachability.what_if import Change, Supposed, changes
from tests.support.sample import NOW, Estate, evidence, service, topology
from tests.support.sample import judged as silent

HELD = topology()


def judged(proposed: Topology, held: Topology = HELD, *, late_s: float = 0.0) -> tuple[Cell, ...]:
    estate, plan = Estate(), build_plan(proposed, {}, {})
    return Supposed(held, proposed).cells(plan, estate.matrix, NOW + timedelta(seconds=late_s))


def between(cells: tuple[Cell, ...], source: str, destination: str) -> set[Result]:
    return {cell.result for cell in cells if cell.pair == (source, destination)}


def with_environment(name: str, **more: object) -> Topology:
    environments = {**HELD.environments, name: replace(HELD.environments[name], **more)}  # type: ignore[arg-type]
    return replace(HELD, environments=environments)


def agents(*names: str) -> dict[str, DeclaredAgent]:
    return {name: DeclaredAgent(name, (f"10.15.0.{10 + number}",)) for number, name in enumerate(names)}


def test_the_same_topology_says_the_same() -> None:
    estate = Estate()
    cells = judged(HELD)
    assert sorted(map(str, cells)) == sorted(map(str, estate.cells))
    assert list(changes(estate.cells, cells)) == []


def test_what_is_declared_passes_and_what_is_declared_no_more_fails() -> None:
    leak = Path(
        "notebooks-write-models",
        Selector("dev", environment="dev"),
        Selector("prod.model-registry", environment="prod", service="model-registry"),
    )
    estate = Estate()
    found = list(changes(estate.cells, judged(replace(HELD, paths=(leak,)))))
    said = {(c.cell.pair, c.before and c.before.result, c.after and c.after.result, str(c.ports)) for c in found}
    assert said == {
        (("dev", "prod"), Result.FAIL, Result.PASS, "5000"),
        (("staging", "prod"), Result.PASS, Result.FAIL, "5000"),
    }


def test_hosts_and_ports_that_nobody_tried_are_never_green() -> None:
    services = {"db": service("db", "10.15.0.44", "5433")}
    estate, cells = Estate(), judged(with_environment("test", services=services))
    new = [cell for cell in cells if cell.key.address == "10.15.0.44" or 5433 in cell.ports]
    assert {cell.result for cell in new if cell.key.protocol is Protocol.TCP} == {Result.NOT_RUN}
    found = [change for change in changes(estate.cells, cells) if change.before is None]
    assert {change.after.result for change in found if change.after} == {Result.NOT_RUN}
    assert sum(len(change.ports) for change in found if 5433 in change.ports and len(change.ports) == 1) > 3


def test_what_is_probed_no_more_is_said() -> None:
    found = list(changes(Estate().cells, judged(replace(with_environment("prod", services={}), paths=()))))
    gone = [change for change in found if change.after is None]
    assert {change.cell.key.address for change in gone} == {"10.30.0.21"}
    leak = [change for change in gone if change.before and change.before.result is Result.FAIL]
    assert [(change.cell.key.address, str(change.ports)) for change in leak] == [("10.30.0.21", "5000")]


MOVED = {**HELD.environments, "dev": replace(HELD.environments["dev"], agents={}), "test": replace(
    HELD.environments["test"], agents=agents("test-1", "dev-1"))}  # fmt: skip
NEW = {**HELD.environments, "test": replace(HELD.environments["test"], agents=agents("newcomer"))}
WIDER = {**HELD.environments, "dev": replace(
    HELD.environments["dev"], networks=(ip_network("10.10.0.0/24"), ip_network("10.99.0.0/16")))}  # fmt: skip
NARROWER = {**HELD.environments, "dev": replace(HELD.environments["dev"], networks=(ip_network("10.10.0.0/25"),))}


@pytest.mark.parametrize(
    ("environments", "source", "destination", "why"),
    [
        (MOVED, "test", "prod", "agent 'dev-1' is in 'dev' now: what it sent left another environment"),
        (
            MOVED,
            "staging",
            "test",
            "agent 'dev-1' changes its environment: what was shown of 'test' leaned on where it is",
        ),
        (
            MOVED,
            "staging",
            "dev",
            "agent 'dev-1' changes its environment: what was shown of 'dev' leaned on where it is",
        ),
        (NEW, "test", "prod", "agent 'newcomer' is not in the topology in force: nobody has sent anything from there"),
        (
            WIDER,
            "dev",
            "prod",
            "'dev' has other networks now: what was shown of it leaned on what is inside it",
        ),
        (WIDER, "prod", "dev", "'dev' has other networks now: what was shown of it leaned on what is inside it"),
        (NARROWER, "dev", "prod", "'dev' has other networks now: what was shown of it leaned on what is inside it"),
        (NARROWER, "test", "prod", ""),
        (MOVED, "staging", "prod", ""),
    ],
)
def test_what_leaned_on_who_is_inside_counts_no_more_where_that_changes(
    environments: dict[str, Environment], source: str, destination: str, why: str
) -> None:
    proposed = replace(HELD, environments=environments)
    supposed = Supposed(HELD, proposed)
    plan = [t for t in build_plan(proposed, {}, {}) if (t.source_environment, t.destination) == (source, destination)]
    assert plan
    assert why in {supposed.why_not(target) for target in plan}
    results = between(judged(proposed), source, destination)
    assert (results == {Result.NOT_RUN}) is bool(why)


@pytest.mark.parametrize("held_is_slow", [True, False])
def test_neither_topology_makes_fresh_what_is_stale_by_the_other(held_is_slow: bool) -> None:
    slow, quick = (replace(HELD, probing=Probing(every_s=every)) for every in (86400.0, 60.0))
    held, proposed = (slow, quick) if held_is_slow else (quick, slow)
    assert {cell.result for cell in judged(proposed, held, late_s=3600)} == {Result.STALE}
    assert Result.PASS in {cell.result for cell in judged(slow, slow, late_s=3600)}


@pytest.mark.parametrize("held_is_seldom", [True, False])
def test_the_same_holds_for_sweeps(held_is_seldom: bool) -> None:
    ports, closed = PortSpec(tcp=PortSet.parse("1-100")), PortSet.of([50])
    often = replace(HELD, probing=Probing(sweep_every_s=3600.0, sweep_ports=ports))
    seldom = replace(HELD, probing=Probing(sweep_ports=ports))
    held, proposed = (seldom, often) if held_is_seldom else (often, seldom)
    plan, matrix = build_plan(held, {}, {}), Matrix()
    for target in plan:
        if target.protocol is Protocol.TCP:
            matrix.update(key_of(target), closed, silent(evidence(target, State.FILTERED)))
    after = {
        hours: {
            c.result for c in Supposed(held, proposed).cells(plan, matrix, NOW + timedelta(hours=hours)) if c.judged
        }
        for hours in (1, 4)
    }
    assert after == {1: {Result.PASS}, 4: {Result.STALE}}


def test_a_change_is_told_by_what_there_is_of_it() -> None:
    cell = Estate().cells[0]
    assert Change(cell.ports, cell, None).cell is cell
    assert Change(cell.ports, None, cell).cell is cell
