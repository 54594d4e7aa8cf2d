"""Both sides of a plan, each agent and each host once: a plan grows with the square of its file, this with the file.

What the file alone decides is asked of this: what a cycle costs, which paths nobody observes. No name is looked up, and of
an agent without declared addresses nothing is known.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from ipaddress import ip_address
from typing import Generic, NamedTuple, TypeVar

from reachability.plan import Host, cycle_ports, hosts_of, needs_a_witness
from reachability.policy import ports_named
from reachability.ports import ICMP_CELL, PortSet
from reachability.topology import Network, Path, Selector, Topology, family, is_address
from reachability.vocabulary import Protocol

UNKNOWN = 0  # the family of what is a name, or of an agent's address that nobody knows yet
FAMILIES = (UNKNOWN, 4, 6)
T = TypeVar("T")


class Source(NamedTuple):
    """An agent and the addresses that are declared for it."""

    environment: str
    agent: str
    addresses: tuple[str, ...]

    def towards(self, to: int) -> int:
        """How many targets it has at a host of this family."""
        if not self.addresses or to == UNKNOWN:
            return 1
        return sum(family(address) == to for address in self.addresses)


class Reach(NamedTuple):
    """What an end can be of: an environment and the family of the other end; None for any."""

    environment: str
    family: int | None


class Sides:
    """The sides of a topology's plan."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        environments = topology.environments.values()
        owned = {name: agent.addresses for e in environments for name, agent in e.agents.items()}
        self.sources = {e.name: [Source(e.name, name, owned[name]) for name in e.agents] for e in environments}
        self.hosts: Mapping[str, list[Host]] = {e.name: hosts_of(e, owned, {}) for e in environments}
        self._cycle = cycle_ports(topology)
        self._at = {name: {host.address: host for host in hosts} for name, hosts in self.hosts.items()}
        self._placed: dict[str, _Placed[Host]] = {}
        self._agents: dict[str, _Placed[str]] = {}
        for name in self.hosts:
            self._placed[name] = _Placed((h.address, h) for h in self.hosts[name] if is_address(h.address))
            self._agents[name] = _Placed((address, address) for one in self.sources[name] for address in one.addresses)
        self.sources_at = cache(self._sources_at)
        self.hosts_at = cache(self._hosts_at)
        self.environments_at = cache(self._environments_at)
        self.showing = cache(self._showing)

    def cycle(self, protocol: Protocol) -> PortSet:
        """What a cycle tries on every host."""
        return ICMP_CELL if protocol is Protocol.ICMP else self._cycle.of(protocol)

    def swept(self, protocol: Protocol) -> PortSet:
        """What a sweep tries on a host that is not spared; it may share ports with the cycle."""
        return PortSet() if protocol is Protocol.ICMP else self.topology.probing.sweep_ports.of(protocol)

    def required(self, protocol: Protocol, host: Host) -> PortSet:
        """What must be proven of a host."""
        if needs_a_witness(protocol, host):
            return _of_services(host, protocol)
        return self.cycle(protocol) if host.spared else self.cycle(protocol) | self.swept(protocol)

    def lead(self, path: Path) -> bool:
        """Whether the plan has a target between the ends of a path."""
        there = self.environments_at(path.destination)
        return any(_beyond(there.get(one.family, ()), one.environment) for one in self.sources_at(path.source))

    def shows(self, path: Path, protocol: Protocol) -> set[str]:
        """The environments of which the path shows that packets of a protocol get out: where somebody can see them arrive."""
        ports = ports_named(self.topology, path, protocol)
        there: dict[int | None, set[str]] = defaultdict(set)
        for (name, kind), seen in self.showing(path.destination, protocol).items() if ports else ():
            if seen & ports:
                there[kind].add(name)
                there[None].add(name)
        return {
            one.environment
            for one in self.sources_at(path.source)
            if _beyond(there.get(one.family, ()), one.environment)
        }

    def _environments_at(self, end: Selector) -> Mapping[int | None, set[str]]:
        """By family, and for None whatever it is: the environments that have a host at an end."""
        found: dict[int | None, set[str]] = defaultdict(set)
        for name, host in self.hosts_at(end):
            found[family_of(host.address)].add(name)
            found[None].add(name)
        return found

    def _showing(self, end: Selector, protocol: Protocol) -> Mapping[tuple[str, int], PortSet]:
        """By environment and family of the hosts at an end: the ports where an agent or a service is."""
        shown: dict[tuple[str, int], PortSet] = {}
        for name, host in self.hosts_at(end):
            key = name, family_of(host.address)
            seen = self.required(protocol, host) if host.owner else _of_services(host, protocol)
            shown[key] = shown.get(key, PortSet()) | seen
        return shown

    def _sources_at(self, end: Selector) -> frozenset[Reach]:
        """What an end can be of as a source."""
        environments = [end.environment] if end.environment else list(self.sources)
        if end.network is not None:
            within = (name for name in environments if self._agents[name].within(end.network))
            return frozenset(Reach(name, end.network.version) for name in within)
        sources = self.sources[end.environment]
        if end.service:
            addresses = {address for one in sources for address in one.addresses}
            found = addresses & set(self.topology.environments[end.environment].services[end.service].hosts)
            return frozenset(Reach(end.environment, family(address)) for address in found)
        mine = [one for one in sources if end.agent in {"", one.agent}]
        known = {family(address) for one in mine for address in one.addresses}
        known |= {UNKNOWN for one in mine if one.addresses}
        unknown = {None for one in mine if not one.addresses}
        return frozenset(Reach(end.environment, kind) for kind in (*known, *unknown))

    def _hosts_at(self, end: Selector) -> list[tuple[str, Host]]:
        """The hosts at an end as a destination, each with its environment."""
        if end.network is not None:
            environments = [end.environment] if end.environment else list(self.hosts)
            return [(name, host) for name in environments for host in self._placed[name].within(end.network)]
        name, at = end.environment, self._at[end.environment]
        environment = self.topology.environments[name]
        if end.agent:
            return [(name, at[address]) for address in environment.agents[end.agent].addresses]
        if end.service:
            return [(name, at[text]) for text in environment.services[end.service].hosts]
        return [(name, host) for host in self.hosts[name]]


class _Placed(Generic[T]):
    """What has an address, in the order of addresses: what is in a network lies side by side."""

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        pairs = sorted(((_key(address), one) for address, one in entries), key=lambda pair: pair[0])
        self._keys = [key for key, _ in pairs]
        self._values = [one for _, one in pairs]

    def within(self, network: Network) -> list[T]:
        """All that is in a network."""
        low = bisect_left(self._keys, (network.version, int(network.network_address)))
        high = bisect_right(self._keys, (network.version, int(network.broadcast_address)))
        return self._values[low:high]


def _beyond(environments: Collection[str], own: str) -> bool:
    """Whether one of them is another than `own`."""
    return len(environments) > 1 or (bool(environments) and own not in environments)


def family_of(text: str) -> int:
    """4 or 6; `UNKNOWN` for a name."""
    return family(text) if is_address(text) else UNKNOWN


def _key(address: str) -> tuple[int, int]:
    parsed = ip_address(address)
    return parsed.version, int(parsed)


def _of_services(host: Host, protocol: Protocol) -> PortSet:
    return PortSet.union(ports for _, ports in host.services(protocol))
