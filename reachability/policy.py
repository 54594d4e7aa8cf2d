"""What the topology says of a cell, and which line says it. What no path names is denied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from reachability.overlay import Layer, overlay
from reachability.plan import PlanTarget
from reachability.ports import ALL_PORTS, ICMP_CELL, PortSet
from reachability.topology import Path, Selector, Topology, Waiver, in_networks
from reachability.vocabulary import Declared, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is declared of some cells: by which path, waived by which waiver, belonging to which service."""

    declared: Declared = Declared.DENIED
    path: Path | None = None
    waiver: Waiver | None = None
    service: str | None = None


class Policy:
    """What a topology says of targets at one moment: expired waivers count for nothing.

    It is made anew for each comparison, so what it remembers of ends outlives neither a reload nor an expiry.
    """

    def __init__(self, topology: Topology, now: datetime) -> None:
        self.topology = topology
        # The first that matches decides: what requires comes before what allows, else the order of the file counts.
        self._paths = sorted(topology.paths, key=lambda path: path.expect is not Declared.REQUIRED)
        self._waivers = [waiver for waiver in topology.waivers if waiver.expires > now]
        self._entries: list[Path | Waiver] = [*self._paths, *self._waivers]
        self._near_sources = _by_environment(entry.source for entry in self._entries)
        self._near_destinations = _by_environment(entry.destination for entry in self._entries)
        self._sources: dict[tuple[str, ...], set[int]] = {}
        self._destinations: dict[tuple[object, ...], set[int]] = {}
        self._decisions: dict[tuple[int | None, int | None, str | None], Decision] = {}

    def layers(self, target: PlanTarget) -> tuple[Layer, Layer, Layer]:
        """Paths, waivers and services of a target as layers of an overlay; `decision` reads the values."""
        paths: list[tuple[PortSet, int]] = []
        waivers: list[tuple[PortSet, int]] = []
        for number in sorted(self._matching(target), reverse=True):
            ports = ports_named(self.topology, self._entries[number], target.protocol)
            (paths if number < len(self._paths) else waivers).append((ports, number))
        return paths, waivers, [(ports, name) for name, ports in reversed(target.services)]

    def decision(self, path: int | None, waiver: int | None, service: str | None) -> Decision:
        """What the values of the layers stand for."""
        values = (path, waiver, service)
        if values not in self._decisions:
            by = None if path is None else self._paths[path]
            # A waiver bears a hole for a while; a path that the business needs and that is down is none.
            required = by is not None and by.expect is Declared.REQUIRED
            self._decisions[values] = Decision(
                declared=by.expect if by else Declared.DENIED,
                path=by,
                waiver=None if waiver is None or required else self._waivers[waiver - len(self._paths)],
                service=service,
            )
        return self._decisions[values]

    def decide(self, target: PlanTarget) -> tuple[tuple[PortSet, Decision], ...]:
        """Split a target's ports by what is declared of them."""
        return tuple((ports, self.decision(*values)) for ports, values in overlay(target.ports, *self.layers(target)))

    def _matching(self, target: PlanTarget) -> set[int]:
        """The places of the entries between the target's ends. Each end is compared once with the entries of its environment."""
        source = (target.source_environment, target.agent, target.source_address)
        if source not in self._sources:
            self._sources[source] = {
                number
                for number in self._near(self._near_sources, target.source_environment)
                if is_source(self.topology, self._entries[number].source, target)
            }
        destination = (target.destination, target.address, target.names, target.witness)
        if destination not in self._destinations:
            self._destinations[destination] = {
                number
                for number in self._near(self._near_destinations, target.destination)
                if is_destination(self.topology, self._entries[number].destination, target)
            }
        return self._sources[source] & self._destinations[destination]

    @staticmethod
    def _near(ends: Mapping[str, list[int]], environment: str) -> Iterator[int]:
        """The places of the entries of which an end is in an environment, or may be in any."""
        return chain(ends.get(environment, ()), ends.get("", ()))


def _by_environment(ends: Iterable[Selector]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, end in enumerate(ends):
        found.setdefault(end.environment, []).append(number)
    return found


def matches(topology: Topology, source: Selector, destination: Selector, target: PlanTarget) -> bool:
    """Whether a path or waiver between these ends can speak of the target."""
    return is_source(topology, source, target) and is_destination(topology, destination, target)


def ports_named(topology: Topology, entry: Path | Waiver, protocol: Protocol) -> PortSet:
    """The ports of a protocol that an entry names; its own, the service's, or all."""
    spec = entry.ports
    if spec is None and entry.destination.service:
        spec = topology.environments[entry.destination.environment].services[entry.destination.service].ports
    if spec is None:
        return ICMP_CELL if protocol is Protocol.ICMP else ALL_PORTS
    return spec.of(protocol)


def nearest_paths(topology: Topology, target: PlanTarget) -> tuple[Path, ...]:
    """Paths to the same destination from elsewhere: what somebody may have meant."""
    return tuple(path for path in topology.paths if is_destination(topology, path.destination, target))


def is_source(topology: Topology, end: Selector, target: PlanTarget) -> bool:
    """Whether the target's source is at this end."""
    if end.network is not None:
        mine = end.environment in {"", target.source_environment}
        return mine and bool(target.source_address) and in_networks(target.source_address, (end.network,))
    if end.environment != target.source_environment:
        return False
    if end.agent:
        return end.agent == target.agent
    if end.service:
        return target.source_address in topology.environments[end.environment].services[end.service].hosts
    return True


def is_destination(topology: Topology, end: Selector, target: PlanTarget) -> bool:
    """Whether the target's destination is at this end."""
    if end.network is not None:
        return end.environment in {"", target.destination} and in_networks(target.address, (end.network,))
    if end.environment != target.destination:
        return False
    if end.agent:
        return end.agent == target.witness
    if end.service:
        hosts = topology.environments[end.environment].services[end.service].hosts
        return not {target.address, *target.names}.isdisjoint(hosts)
    return True
