"""What stands for who is inside a pair of environments: another text wherever a control may be on the other side now."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from reachability.layout import layout_of, moved
from reachability.plan import build_plan
from reachability.topology import DeclaredAgent, Environment, Topology
from tests.support.sample import topology

HELD = topology()
PAIR = "dev", "prod"


def with_networks(name: str, *networks: str) -> Topology:
    changed = replace(HELD.environments[name], networks=tuple(map(ip_network, networks)))
    return replace(HELD, environments={**HELD.environments, name: changed})


def with_agents(**agents: tuple[str, ...]) -> Topology:
    def of(environment: Environment) -> Environment:
        return replace(environment, agents={name: DeclaredAgent(name) for name in agents.get(environment.name, ())})

    return replace(HELD, environments={name: of(environment) for name, environment in HELD.environments.items()})


@pytest.mark.parametrize("name", PAIR)
def test_another_network_of_either_is_another_layout_and_one_that_is_taken_back_is_none(name: str) -> None:
    mine = [str(network) for network in HELD.environments[name].networks]
    before = layout_of(HELD, *PAIR, {})
    assert layout_of(with_networks(name, *mine, "10.99.0.0/24"), *PAIR, {}) != before
    assert layout_of(with_networks(name, *reversed(mine)), *PAIR, {}) == before
    assert layout_of(with_networks("test", "10.99.0.0/24"), *PAIR, {}) == before, "of a third"


def test_a_move_of_either_is_another_layout() -> None:
    layouts = {layout_of(HELD, *PAIR, moves) for moves in ({}, {"dev": "a"}, {"dev": "b"}, {"prod": "a"})}
    assert len(layouts) == 4
    assert layout_of(HELD, *PAIR, {"test": "a"}) == layout_of(HELD, *PAIR, {})
    assert layout_of(HELD, "dev", "prod", {}) != layout_of(HELD, "prod", "dev", {})


def test_every_target_of_a_plan_has_that_of_its_pair() -> None:
    moves = {"dev": "a"}
    plan = build_plan(HELD, {}, {}, moves=moves)
    assert plan
    assert all(t.layout == layout_of(HELD, t.source_environment, t.destination, moves) for t in plan)


@pytest.mark.parametrize(
    ("homes", "expected"),
    [
        ({}, {}),
        ({"a": "dev", "b": "prod"}, {}),
        ({"a": "dev"}, {}),
        ({"a": "dev", "b": "prod", "gone": "test"}, {}),
        ({"a": "test", "b": "prod"}, {"dev": "a", "test": "a"}),
        ({"a": "left", "b": "prod"}, {"dev": "a", "left": "a"}),
    ],
    ids=["nobody was known", "as they were", "one came", "one went", "one moved", "its environment is gone"],
)
def test_who_comes_or_goes_has_not_moved(homes: dict[str, str], expected: dict[str, str]) -> None:
    assert moved(homes, with_agents(dev=("a",), prod=("b",))) == expected
