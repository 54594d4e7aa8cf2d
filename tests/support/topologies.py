"""A small topology, and what is said of one that is refused."""

from collections.abc import Callable

import pytest

from coordinator.topology.load import TopologyErrors, parse_topology
from reachability.topology import Topology
from tests.support.paths import ROOT

GOOD = (ROOT / "topology.yaml").read_bytes()
ESTATE = """\
version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
    agents:
      dev-1: {addresses: [10.10.0.10]}
  prod:
    networks: [10.30.0.0/24]
    agents:
      prod-1: {addresses: [10.30.0.10]}
    services:
      db: {hosts: [10.30.0.21], ports: [tcp/5432]}
"""


def refused(read: Callable[[], Topology]) -> tuple[str, ...]:
    """The errors of what must be refused, each on a line of its own."""
    with pytest.raises(TopologyErrors) as raised:
        read()
    errors = raised.value.errors
    assert errors
    assert str(raised.value) == "\n".join(errors)
    assert all(error.isprintable() for error in errors)
    return errors


def errors_of(content: str | bytes) -> tuple[str, ...]:
    found = content.encode() if isinstance(content, str) else content
    errors = refused(lambda: parse_topology(found, "t.yaml"))
    assert max(map(len, errors)) < 1000
    return errors


def only_error_of(content: str | bytes) -> str:
    [error] = errors_of(content)
    return error
