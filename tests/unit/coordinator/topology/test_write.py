"""What is written loads as the same topology, whatever is in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.topology.load import parse_topology
from coordinator.topology.write import Notes, text, written
from reachability.topology import Mark, Topology
from tests.support.topologies import ESTATE, GOOD

FULL = """
paths:
  - {name: a, from: dev.dev-1, to: prod.db, ports: [tcp/5432, "udp/1-9,53", icmp], expect: required, owner: "no", justification: "x: # y"}
  - {name: b, from: 10.10.0.0/24, to: "prod.10.30.0.9"}
waivers:
  - {id: W-1, from: dev, to: prod.db, expires: 2027-01-31T00:00:00Z}
probing:
  every: 90s
  sweep: {every: 1.5h, ports: [tcp/1-65535]}
  spread: 100ms
  blackout: [{cron: "0 2 * * 0", for: 2h, timezone: Europe/Berlin}, {cron: "*/5 * * * *", for: 1500ms}]
"""
SWEPT_WHEN_ASKED = ESTATE.replace("ports: [tcp/5432]", "ports: [tcp/5432], kind: 'on', holds: [models, 'a b'], sweep: false").replace(
    "  prod:\n", "  prod:\n    require: no-packet\n    sensitivity: critical\n").replace("{addresses: [10.10.0.10]}", "") + (
    "probing: {sweep: {ports: [udp/1-100]}}\n")  # fmt: skip
WIDE = ESTATE.replace("networks: [10.30.0.0/24]", "networks: [8.0.0.0/6]\n    allow_wide: true")


def plain(topology: Topology) -> Topology:
    """Without the places of its lines, and what the file was."""
    none = Mark()
    environments = {
        name: replace(
            found,
            mark=none,
            agents={agent: replace(one, mark=none) for agent, one in found.agents.items()},
            services={service: replace(one, mark=none) for service, one in found.services.items()},
        )
        for name, found in topology.environments.items()
    }
    return replace(
        topology,
        environments=environments,
        paths=tuple(replace(path, mark=none) for path in topology.paths),
        waivers=tuple(replace(waiver, mark=none) for waiver in topology.waivers),
        file="",
        digest="",
    )


def again(topology: Topology, *header: str, **notes: str) -> Topology:
    lines: Notes = {("paths", name): [said] for name, said in notes.items()}
    return parse_topology(written(topology, header, lines).encode())


@pytest.mark.parametrize(
    "content", [GOOD, ESTATE.encode(), (ESTATE + FULL).encode(), SWEPT_WHEN_ASKED.encode(), WIDE.encode()]
)
def test_it_loads_as_the_same(content: bytes) -> None:
    topology = parse_topology(content)
    assert plain(again(topology)) == plain(topology)


LINE = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60)  # what a topology may hold


@settings(max_examples=60)
@given(LINE, LINE, st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_whatever_a_person_wrote_comes_back_as_it_was(owner: str, said: str, comment: str) -> None:
    topology = parse_topology((ESTATE + FULL).encode())
    first = replace(topology.paths[0], owner=owner, justification=said)
    changed = replace(topology, paths=(first, *topology.paths[1:]))
    loaded = again(changed, comment, a=comment, b=comment)
    assert plain(loaded) == plain(changed), "nor does a comment end before its line"


def test_an_expiry_to_the_second_and_in_utc() -> None:
    topology = parse_topology((ESTATE + FULL).encode())
    late = replace(topology.waivers[0], expires=datetime(2027, 1, 31, 1, 2, 3, 4000, tzinfo=UTC))
    changed = replace(topology, waivers=(late,))
    assert plain(again(changed)) == plain(changed)


@pytest.mark.parametrize(
    "value",
    ["no", "NULL", "1", "1.5", "0x10", "~", "", "a: b", "a #b", "2027-01-31", "fd00::1", "tcp/x y", "udp/53,123", "-"],
)
def test_what_would_be_read_as_something_else_is_quoted(value: str) -> None:
    assert text(value).startswith('"')


@pytest.mark.parametrize("value", ["prod.model-registry", "10.30.0.0/24", "10.30.0.1", "tcp/1-65535", "Europe/Berlin"])
def test_what_reads_as_it_stands_is_left_so(value: str) -> None:
    assert text(value) == value
