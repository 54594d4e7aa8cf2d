"""What is probed: every cell that the topology spans, each in exactly one target, whatever comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reachability import catalogue
from reachability.ports import PortSet
from reachability.topology import Environment, PortSpec, Service, Topology, family, is_address
from reachability.vocabulary import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTarget:
    """The cells from one source address to one destination address with one protocol.

    `source_address` is "" while the agent has not reported one; `address` is the DNS name where it did not resolve.
    """

    agent: str
    source_environment: str
    source_address: str
    destination: str
    address: str
    protocol: Protocol
    name: str = ""
    cycle: PortSet = PortSet()
    sweep: PortSet = PortSet()
    required: PortSet = PortSet()
    icmp_required: bool = False
    witness: str = ""
    inside: str = ""
    service_ports: PortSet = PortSet()
    services: tuple[tuple[str, PortSet], ...] = ()

    @property
    def ports(self) -> PortSet:
        """Every port of the target: the cycle's and the sweep's."""
        return self.cycle | self.sweep


@dataclass(slots=True)
class _Host:
    """A destination host while the plan is made: one address or unresolved name of an environment."""

    address: str
    name: str = ""
    owner: str = ""
    services: list[Service] = field(default_factory=list)


def build_plan(
    topology: Topology,
    addresses: Mapping[str, tuple[str, ...]],
    lookups: Mapping[str, Mapping[str, tuple[str, ...]]],
) -> tuple[PlanTarget, ...]:
    """Every target of every agent.

    Args:
        topology: what is declared.
        addresses: agent to the addresses that it reported; used where the topology declares none.
        lookups: agent to what names of other environments resolved to there; a missing or empty one is unresolved.
    """
    cycle = cycle_ports(topology)
    owned = {
        agent: owned_addresses(topology, environment, agent, addresses)
        for environment in topology.environments.values()
        for agent in environment.agents
    }
    targets: list[PlanTarget] = []
    for source in topology.environments.values():
        for agent in source.agents:
            for destination in topology.environments.values():
                if destination.name == source.name:
                    continue
                for host in _hosts(destination, owned, lookups.get(agent, {})):
                    targets.extend(_targets(topology, source, agent, owned[agent], destination, host, cycle))
    return tuple(targets)


def cycle_ports(topology: Topology) -> PortSpec:
    """The ports that a cycle tries on every host: those of every service, and the catalogue's."""
    spec = catalogue.ports()
    for environment in topology.environments.values():
        for service in environment.services.values():
            spec |= service.ports
    return spec


def owned_addresses(
    topology: Topology, environment: Environment, agent: str, reported: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """The addresses of an agent: declared, else those it reported that are in its environment's networks."""
    del topology
    declared = environment.agents[agent].addresses
    return declared or tuple(a for a in reported.get(agent, ()) if environment.contains(a))


def _hosts(
    environment: Environment, owned: Mapping[str, tuple[str, ...]], lookups: Mapping[str, tuple[str, ...]]
) -> list[_Host]:
    hosts: dict[str, _Host] = {}
    for agent in environment.agents:
        for address in owned[agent]:
            hosts[address] = _Host(address, owner=agent)
    for service in environment.services.values():
        for text in service.hosts:
            named = "" if is_address(text) else text
            for address in (lookups.get(text) or (text,)) if named else (text,):
                host = hosts.setdefault(address, _Host(address))
                host.name = host.name or named
                host.services.append(service)
    return list(hosts.values())


def _targets(
    topology: Topology,
    source: Environment,
    agent: str,
    own: tuple[str, ...],
    destination: Environment,
    host: _Host,
    cycle: PortSpec,
) -> list[PlanTarget]:
    if is_address(host.address):
        sources = [a for a in own if family(a) == family(host.address)] if own else [""]
    else:
        sources = [""]
    inside = next((name for name in destination.agents if name != host.owner), "")
    sweep = topology.probing.sweep_ports if all(service.sweep for service in host.services) else PortSpec()
    targets = []
    for protocol in Protocol:
        mine = PortSet.from_ranges(span for s in host.services for span in s.ports.of(protocol).ranges)
        in_cycle, in_sweep = cycle.of(protocol), sweep.of(protocol)
        targets.extend(
            PlanTarget(
                agent=agent,
                source_environment=source.name,
                source_address=address,
                destination=destination.name,
                address=host.address,
                name=host.name,
                protocol=protocol,
                cycle=in_cycle,
                sweep=in_sweep,
                required=mine if protocol is Protocol.UDP and not host.owner else in_cycle | in_sweep,
                icmp_required=protocol is Protocol.ICMP,
                witness=host.owner,
                inside=inside,
                service_ports=mine,
                services=tuple((s.name, s.ports.of(protocol)) for s in host.services if s.ports.of(protocol)),
            )
            for address in sources
        )
    return targets
