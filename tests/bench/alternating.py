"""Eleven million cells whose states alternate port by port, so that no fold helps, and five hundred declared paths."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

from reachability.compare import key_of
from reachability.matrix import Judged, Matrix
from reachability.plan import PlanTarget, build_plan
from reachability.ports import ALL_PORTS, PortSet
from reachability.topology import (
    DeclaredAgent,
    Environment,
    Path,
    PortSpec,
    Probing,
    Selector,
    Service,
    Topology,
    Waiver,
)
from reachability.verdict import Evidence, judge
from reachability.vocabulary import Arrival, Declared, Protocol, Reason, Require, Schedule, State

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ENVIRONMENTS, AGENTS, SERVICES = ("dev", "test", "staging", "prod"), 2, 5
PATHS, WAIVERS = 500, 20
ODD, EVEN = PortSet.of(range(1, 65536, 2)), PortSet.of(range(2, 65536, 2))


def topology(seed: int = 1) -> Topology:
    """Four environments of two agents and five services each; paths and waivers between ends of every kind."""
    draw = random.Random(seed)
    environments = {name: _environment(name, number) for number, name in enumerate(ENVIRONMENTS, start=1)}

    def pair() -> tuple[Selector, Selector]:
        source, destination = draw.sample(ENVIRONMENTS, 2)
        return _end(draw, source), _end(draw, destination)

    def ports() -> PortSpec:
        spans = [(low, low + draw.choice((0, 0, 9, 400))) for low in draw.sample(range(1, 49000), draw.randint(1, 4))]
        return PortSpec(tcp=PortSet.from_ranges(spans))

    paths = tuple(
        Path(f"path-{n}", *pair(), ports(), draw.choice((Declared.ALLOWED, Declared.REQUIRED))) for n in range(PATHS)
    )
    # Every fourth waiver has expired.
    waivers = tuple(
        Waiver(f"W-{n}", *pair(), ports(), "owner", "reason", NOW + timedelta(days=1 if n % 4 else -1))
        for n in range(WAIVERS)
    )
    probing = Probing(sweep_every_s=86400.0, sweep_ports=PortSpec(tcp=ALL_PORTS))
    return Topology(environments, paths, waivers, probing)


def plan(declared: Topology) -> tuple[PlanTarget, ...]:
    """Its TCP targets: 168 addresses as seen from an agent, 65,535 ports each."""
    return tuple(target for target in build_plan(declared, {}, {}) if target.protocol is Protocol.TCP)


def observed(targets: tuple[PlanTarget, ...]) -> Matrix:
    """Neighbouring ports never came out alike; which two ways they did changes from target to target."""
    silent = Evidence(
        protocol=Protocol.TCP,
        state=State.FILTERED,
        reason=Reason.NO_RESPONSE,
        sent=3,
        covered=3,
        flows=3,
        arrival=Arrival.NOT_SEEN,
        control=True,
    )
    ways = (
        silent,
        Evidence(protocol=Protocol.TCP, state=State.CLOSED, reason=Reason.RESET, sent=1, arrival=Arrival.SEEN),
        Evidence(protocol=Protocol.TCP, state=State.OPEN, reason=Reason.SYN_ACK, sent=1, arrival=Arrival.SEEN),
        Evidence(protocol=Protocol.TCP, state=State.FILTERED, reason=Reason.NO_RESPONSE, sent=3),
    )
    matrix = Matrix()
    for number, target in enumerate(targets):
        for ports, way in ((ODD, number), (EVEN, number + 1 + number // 4 % 3)):
            evidence = ways[way % len(ways)]
            one = Judged(
                evidence=evidence,
                verdict=judge(evidence),
                round=f"R{number}",
                schedule=Schedule.SWEEP,
                observed_at=NOW.timestamp(),
            )
            matrix.update(key_of(target), ports, one)
    return matrix


def _environment(name: str, number: int) -> Environment:
    agents = {f"{name}-{n}": DeclaredAgent(f"{name}-{n}", (f"10.{number}.0.{n}",)) for n in range(1, AGENTS + 1)}
    # A service on hosts of its own, and on an agent's, so that a path from a service speaks of somebody who probes.
    services = {
        f"service-{n}": Service(
            f"service-{n}",
            (f"10.{number}.0.{10 + n}", f"10.{number}.0.{1 + n % AGENTS}"),
            PortSpec(tcp=PortSet.of([8000 + n])),
        )
        for n in range(SERVICES)
    }
    require = Require.NO_PACKET if name == "prod" else Require.NO_SESSION
    return Environment(name, (ip_network(f"10.{number}.0.0/24"),), agents, services, require=require)


def _end(draw: random.Random, name: str) -> Selector:
    match draw.randrange(4):
        case 0:
            return Selector(name, environment=name)
        case 1:
            agent = f"{name}-{draw.randint(1, AGENTS)}"
            return Selector(f"{name}.{agent}", environment=name, agent=agent)
        case 2:
            service = f"service-{draw.randrange(SERVICES)}"
            return Selector(f"{name}.{service}", environment=name, service=service)
        case _:
            number = ENVIRONMENTS.index(name) + 1
            cidr = draw.choice((f"10.{number}.0.0/24", f"10.{number}.0.{draw.randrange(0, 16, 4)}/30", "10.0.0.0/8"))
            return Selector(cidr, network=ip_network(cidr))
