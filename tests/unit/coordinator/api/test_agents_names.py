"""What the API says of DNS names, agent by agent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.api import agents, explain
from coordinator.api.responses.names import Name, NameAt
from coordinator.packets.exchanges import Exchanges
from coordinator.state.situation import situation_now
from reachability.observation import Lookup
from tests.support.coordinator import Coordinator

DB = "db.prod.internal"
DEV = NameAt(agent="dev-1", environment="dev", addresses=(), problem="no such name")
PROD = NameAt(
    agent="prod-1",
    environment="prod",
    addresses=("10.30.0.21",),
    origin="dns",
    full_name="db.prod.internal.corp.example",
    ttl_s=60,
    wildcard="*.corp.example",
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Coordinator]:
    known = Coordinator(tmp_path)
    known.estate.take_lookups("dev-1", [Lookup(name=DB, problem="no such name")])
    prod = Lookup(name=DB, addresses=("10.30.0.21",), origin="dns", full_name="db.prod.internal.corp.example")
    known.estate.take_lookups("prod-1", [replace(prod, ttl_s=60, wildcard="*.corp.example")])
    yield known
    known.runner.close()
    known.store.close()


def test_every_name_at_every_agent_that_was_asked(world: Coordinator) -> None:
    assert agents.names_body(world.estate).names == (Name(name=DB, seen=(DEV, PROD)),)


def test_an_explanation_has_the_names_that_led_to_the_address(world: Coordinator) -> None:
    estate = world.estate
    for destination, expected in ((DB, (Name(name=DB, seen=(DEV, PROD)),)), ("10.30.0.10", ())):
        shown = explain.find_cell(estate.plan, estate.cells(), ("dev-1", destination, "tcp/22"))
        body = explain.explain_cell(situation_now(estate), shown, Exchanges(estate.store.group_of))
        assert explain.named(estate, body, shown).names == expected
        assert explain.named(estate, body, None).names == ()
