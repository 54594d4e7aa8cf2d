"""A small topology, and what is said of one that is refused."""

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from coordinator.topology.load import TopologyErrors, parse_topology
from coordinator.topology.write import written
from reachability.ports import PortSet
from reachability.topology import DeclaredAgent, Environment, PortSpec, Service, Topology
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


def estate_of_paths(environments: int, services: int) -> str:
    """A topology of many: two agents and so many services in each environment, and a path to each service."""
    lines, paths = ["version: 1", "environments:"], ["paths:"]
    for number in range(environments):
        net = f"10.{number // 4}.{number % 4 * 64}"  # 64 networks of 256 addresses each
        within = f"10.{number // 4}"
        lines += [f"  e{number}:", f"    networks: [{net}.0/18]", "    agents:"]
        lines += [f"      a{number}-{agent}: {{addresses: [{net}.{agent + 10}]}}" for agent in range(2)]
        lines.append("    services:")
        for service in range(services):
            place = f"{within}.{number % 4 * 64 + 1 + service // 200}.{service % 200 + 1}"
            lines.append(f"      s{service}: {{hosts: [{place}], ports: [tcp/8080], kind: http}}")
            paths += [
                f"  - name: p{number}-{service}",
                f"    from: e{(number + 1) % environments}",
                f"    to: e{number}.s{service}",
                f"    justification: ticket {service}",
            ]
    return "\n".join([*lines, *paths, ""])


def large(agents: int, hosts: int) -> Topology:
    """So many agents without declared addresses in one environment, and so many hosts of a service in another."""
    within = (ip_network("10.1.0.0/16"), ip_network("10.32.0.0/11"))
    listed = tuple(str(within[1][number]) for number in range(hosts))
    dev = Environment(
        "dev", within[:1], agents={name: DeclaredAgent(name) for name in (f"a{n}" for n in range(agents))}
    )
    service = Service("db", listed, PortSpec(tcp=PortSet.of([5432])))
    prod = Environment("prod", within[1:], services={"db": service})
    return Topology({"dev": dev, "prod": prod})


def large_file(agents: int, hosts: int) -> bytes:
    """The same, as a file."""
    return written(large(agents, hosts), (), {}).encode()
