"""What the topology says of a cell, and which line says it. What no path names is denied."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reachability.overlay import overlay
from reachability.plan import PlanTarget
from reachability.ports import ALL_PORTS, PortSet
from reachability.topology import Path, Selector, Topology, Waiver, in_networks
from reachability.vocabulary import Declared, Protocol

ICMP_CELL = PortSet.of([1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is declared of some cells: by which path, waived by which waiver, belonging to which service."""

    declared: Declared = Declared.DENIED
    path: Path | None = None
    waiver: Waiver | None = None
    service: str | None = None


def decide(topology: Topology, target: PlanTarget, now: datetime) -> tuple[tuple[PortSet | None, Decision], ...]:
    """Split a target's ports by what is declared of them; None stands for the one cell of an ICMP target.

    A cell that several paths match is required if one of them requires it, else allowed; the first in the file decides.
    Expired waivers count for nothing.
    """
    icmp = target.protocol is Protocol.ICMP
    whole = ICMP_CELL if icmp else target.ports
    paths = [path for path in reversed(topology.paths) if matches(topology, path.source, path.destination, target)]
    # Later entries of a layer hide earlier ones: required paths last, and the first of the file on top.
    ordered = sorted(paths, key=lambda path: path.expect is Declared.REQUIRED)
    by_path = [(ports_of(topology, path, target), topology.paths.index(path)) for path in ordered]
    waivers = [
        (ports_of(topology, waiver, target), index)
        for index, waiver in reversed(list(enumerate(topology.waivers)))
        if waiver.expires > now and matches(topology, waiver.source, waiver.destination, target)
    ]
    services = [(ports, name) for name, ports in reversed(target.services)]
    result: list[tuple[PortSet | None, Decision]] = []
    for ports, (path_at, waiver_at, service) in overlay(whole, by_path, waivers, services):
        path = None if path_at is None else topology.paths[path_at]
        waiver = None if waiver_at is None else topology.waivers[waiver_at]
        decision = Decision(
            declared=path.expect if path else Declared.DENIED, path=path, waiver=waiver, service=service
        )
        result.append((None if icmp else ports, decision))
    return tuple(result)


def matches(topology: Topology, source: Selector, destination: Selector, target: PlanTarget) -> bool:
    """Whether a path or waiver between these ends can speak of the target."""
    return _is_source(topology, source, target) and _is_destination(topology, destination, target)


def ports_of(topology: Topology, entry: Path | Waiver, target: PlanTarget) -> PortSet:
    """The ports of the target's protocol that an entry names; its own, the service's, or all."""
    spec = entry.ports
    if spec is None and entry.destination.service:
        spec = topology.environments[entry.destination.environment].services[entry.destination.service].ports
    if target.protocol is Protocol.ICMP:
        return ICMP_CELL if spec is None or spec.icmp else PortSet()
    return ALL_PORTS if spec is None else spec.of(target.protocol)


def nearest_paths(topology: Topology, target: PlanTarget) -> tuple[Path, ...]:
    """Paths to the same destination from elsewhere: what somebody may have meant."""
    return tuple(path for path in topology.paths if _is_destination(topology, path.destination, target))


def _is_source(topology: Topology, end: Selector, target: PlanTarget) -> bool:
    if end.network is not None:
        return in_networks(target.source_address, (end.network,)) if target.source_address else False
    if end.environment != target.source_environment:
        return False
    if end.agent:
        return end.agent == target.agent
    if end.service:
        return target.source_address in topology.environments[end.environment].services[end.service].hosts
    return True


def _is_destination(topology: Topology, end: Selector, target: PlanTarget) -> bool:
    if end.network is not None:
        return in_networks(target.address, (end.network,))
    if end.environment != target.destination:
        return False
    if end.agent:
        return end.agent == target.witness
    if end.service:
        hosts = topology.environments[end.environment].services[end.service].hosts
        return target.address in hosts or (bool(target.name) and target.name in hosts)
    return True
