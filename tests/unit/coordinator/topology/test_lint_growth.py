"""What `topology check` and `plan` do with a file is work in step with it, whatever there is much of: counted, not timed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from coordinator.tasks import declared_costs
from coordinator.topology.lint import lint
from coordinator.topology.load import parse_topology
from reachability.sides import Sides
from reachability.uncontrolled import by_declaration
from tests.support.topologies import estate_of_paths
from tests.support.work import calls

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROD = """version: 1
environments:
  dev: {networks: [10.10.0.0/16], agents: {dev-1: {addresses: [10.10.0.10]}}}
  prod:
    networks: [10.32.0.0/11]
    agents: {prod-1: {addresses: [10.32.0.10]}, prod-2: {addresses: [10.32.0.11]}}
    services:
"""


def host(number: int, bits: int = 0) -> str:
    place = number << bits
    return f"10.{32 + (place >> 16)}.{place >> 8 & 255}.{place & 255}"


def environments(size: int) -> str:
    """Environments of two agents and four services, a path to each service."""
    return estate_of_paths(size, 4)


def services(size: int) -> str:
    """Services of one environment, each on a host of its own; a path to each, and one to all of them at a port."""
    made = "".join(f"      s{n}: {{hosts: [{host(n + 256)}], ports: [tcp/80]}}\n" for n in range(size))
    paths = "".join(
        f"  - {{name: p{n}, from: dev, to: prod.s{n}}}\n  - {{name: q{n}, from: dev, to: prod, ports: [tcp/{n + 1}]}}\n"
        for n in range(size)
    )
    return PROD + made + "paths:\n" + paths


def on_one_host(size: int) -> str:
    """Services of one host, each with a port of its own; paths to the environment."""
    made = "".join(f"      s{n}: {{hosts: [10.32.9.9], ports: [tcp/{n + 1}]}}\n" for n in range(size))
    paths = "".join(f"  - {{name: p{n}, from: dev, to: prod, ports: [tcp/{n + 1}]}}\n" for n in range(size))
    return PROD + made + "paths:\n" + paths


def networks(size: int) -> str:
    """Networks of one environment, a service and a range at the end of a path in each."""
    listed = ", ".join(f"{host(n, 8)}/24" for n in range(size))
    made = "".join(f"      s{n}: {{hosts: [{host(n, 8)[:-1]}9], ports: [tcp/80]}}\n" for n in range(size))
    paths = "".join(f'  - {{name: p{n}, from: dev, to: "{host(n, 8)}/25", ports: [tcp/80]}}\n' for n in range(size))
    return PROD.replace("10.32.0.0/11", listed) + made + "paths:\n" + paths


def agents(size: int) -> str:
    """Agents of one environment, a path from each."""
    made = ", ".join(f"a{n}: {{addresses: [{host(n + 256)}]}}" for n in range(size))
    paths = "".join(f"  - {{name: p{n}, from: prod.a{n}, to: dev, ports: [tcp/80]}}\n" for n in range(size))
    text = PROD.replace("prod-1: {addresses: [10.32.0.10]}", f"prod-1: {{addresses: [10.32.0.10]}}, {made}")
    return text + "      s: {hosts: [10.32.0.9], ports: [tcp/80]}\npaths:\n" + paths


def checked(content: bytes) -> None:
    topology = parse_topology(content)
    lint(topology, NOW)
    sides = Sides(topology)
    assert by_declaration(sides)
    assert declared_costs(sides)


@pytest.mark.parametrize("content", [environments, services, on_one_host, networks, agents])
def test_twice_the_file_is_twice_the_work(content: Callable[[int], str]) -> None:
    checked(content(4).encode())  # what is done once is done
    small, large = (calls(lambda size=size: checked(content(size).encode())) for size in (140, 280))  # type: ignore[misc]
    assert large < 2.2 * small, (small, large)
