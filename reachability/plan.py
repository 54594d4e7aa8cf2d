"""What is probed: every cell that the topology spans, each in exactly one target, whatever comes of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import assert_never

from reachability import catalogue
from reachability.layout import inside_of
from reachability.ports import ICMP_CELL, PortSet
from reachability.topology import Environment, PortSpec, Service, Topology, family, is_address, is_anothers
from reachability.vocabulary import Protocol, Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTarget:
    """The cells from one source address to one destination address with one protocol.

    `source_address` is "" while the agent has not reported one; `address` is the DNS name where it did not resolve.
    `name` is the first of `names`, the DNS names that led to the address. `sweep` may share ports with `cycle`. One that is
    `elsewhere`, outside the destination's networks, was told by DNS alone: nothing is sent there.
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
    witness: str = ""
    insides: tuple[str, ...] = ()  # agents that could control the host from inside, the one to be preferred first
    service_ports: PortSet = PortSet()
    services: tuple[tuple[str, PortSet], ...] = ()
    names: tuple[str, ...] = ()
    elsewhere: bool = False
    layout: str = ""  # of the pair, as `reachability.layout` has it; "": not known

    @property
    def inside(self) -> str:
        """Who controls it from inside when everybody is there; "" for nobody."""
        return next(iter(self.insides), "")

    @property
    def ports(self) -> PortSet:
        """Every port of the target: the cycle's and the sweep's."""
        return self.cycle | self.sweep

    def ports_in(self, schedule: Schedule) -> PortSet:
        """The ports that one schedule probes: what is in both is the cycle's."""
        if self.elsewhere:
            return PortSet()
        match schedule:
            case Schedule.CYCLE:
                return self.cycle
            case Schedule.SWEEP:
                return self.sweep - self.cycle
            case Schedule.TRACE | Schedule.TRY:  # a person names what they probe
                return PortSet()
            case _:
                assert_never(schedule)


@dataclass(slots=True)
class Host:
    """A destination host while the plan is made: one address or unresolved name of an environment."""

    address: str
    owner: str = ""
    elsewhere: bool = False
    names: dict[str, None] = field(default_factory=dict)
    by_name: dict[str, Service] = field(default_factory=dict)  # the services on it

    @property
    def spared(self) -> bool:
        """Whether a service on it asks not to be swept."""
        return not all(service.sweep for service in self.by_name.values())

    def services(self, protocol: Protocol) -> tuple[tuple[str, PortSet], ...]:
        """The services on it, and the ports that each has with a protocol; ICMP is of the host, not of a service."""
        if protocol is Protocol.ICMP:
            return ()
        return tuple((name, ports) for name, one in self.by_name.items() if (ports := one.ports.of(protocol)))


def build_plan(
    topology: Topology,
    addresses: Mapping[str, tuple[str, ...]],
    leads_to: Mapping[str, tuple[str, ...]],
    *,
    of: Collection[str] | None = None,
    moves: Mapping[str, str] = MappingProxyType({}),
) -> tuple[PlanTarget, ...]:
    """Every target of every agent.

    Args:
        topology: what is declared.
        addresses: agent to the addresses that it reported; used where the topology declares none.
        leads_to: DNS name to all addresses that it has, whoever it was that saw them; a missing or empty one is unresolved.
            What must be proven would else depend on what one agent's resolver says.
        of: the agents whose targets are wanted; None for all.
        moves: as `layout_of` has it.
    """
    cycle = cycle_ports(topology)
    owned = {
        agent: owned_addresses(environment, agent, addresses)
        for environment in topology.environments.values()
        for agent in environment.agents
    }
    # Of every host once, not once for each agent that probes it.
    probed = {
        environment.name: [
            one
            for host in hosts_of(environment, owned, leads_to)
            for one in _probed(
                environment, host, _insides(environment, host, owned), (cycle, _sweep_ports(topology, host))
            )
        ]
        for environment in topology.environments.values()
    }
    inside = {name: inside_of(topology, name, moves) for name in topology.environments}
    targets: list[PlanTarget] = []
    for source in topology.environments.values():
        for agent in (name for name in source.agents if of is None or name in of):
            for name, there in probed.items():
                if name != source.name:
                    layout = inside[source.name] + inside[name]
                    targets.extend(_targets(source.name, agent, owned[agent], layout, there))
    return tuple(targets)


def cycle_ports(topology: Topology) -> PortSpec:
    """The ports that a cycle tries on every host: those of every service, and the catalogue's."""
    spec = catalogue.ports()
    for environment in topology.environments.values():
        for service in environment.services.values():
            spec |= service.ports
    return spec


def owned_addresses(environment: Environment, agent: str, reported: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The addresses of an agent: declared, else those it reported that are in its environment's networks."""
    declared = environment.agents[agent].addresses
    return declared or tuple(a for a in reported.get(agent, ()) if environment.contains(a))


def hosts_of(
    environment: Environment, owned: Mapping[str, tuple[str, ...]], leads_to: Mapping[str, tuple[str, ...]]
) -> list[Host]:
    """The hosts of an environment: those of its agents, which have the addresses `owned`, then those of its services."""
    hosts: dict[str, Host] = {}
    for agent in environment.agents:
        for address in owned[agent]:
            hosts.setdefault(address, Host(address, owner=agent))
    for service in environment.services.values():
        for text in service.hosts:
            named = not is_address(text)
            # To its own host a name may be 127.0.1.1, which says nothing to anybody else.
            found = [a for a in leads_to.get(text, ()) if is_anothers(a) or environment.contains(a)] if named else []
            for address in found or (text,):
                astray = named and is_address(address) and not environment.contains(address)
                host = hosts.setdefault(address, Host(address, elsewhere=astray))
                host.elsewhere = host.elsewhere and astray  # or it is declared as it stands
                if named:
                    host.names[text] = None
                host.by_name[service.name] = service
    return list(hosts.values())


def _sweep_ports(topology: Topology, host: Host) -> PortSpec:
    """What a sweep tries on a host: nothing where a service on it asks to be spared."""
    return PortSpec() if host.spared else topology.probing.sweep_ports


def _insides(destination: Environment, host: Host, owned: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The agents of the environment that are not on the host itself and have an address of the host's family."""
    return tuple(
        agent
        for agent in destination.agents
        if agent != host.owner
        and host.address not in owned[agent]
        and (not owned[agent] or not is_address(host.address) or _of_family(owned[agent], host.address))
    )


def _of_family(addresses: Iterable[str], like: str) -> list[str]:
    return [address for address in addresses if family(address) == family(like)]


@dataclass(frozen=True, slots=True)
class _Probed:
    """What is probed on a host with one protocol, whoever probes it."""

    host: Host
    destination: str
    protocol: Protocol
    cycle: PortSet
    sweep: PortSet
    required: PortSet
    insides: tuple[str, ...]
    service_ports: PortSet
    services: tuple[tuple[str, PortSet], ...]
    names: tuple[str, ...]


def _probed(
    environment: Environment, host: Host, insides: tuple[str, ...], spread: tuple[PortSpec, PortSpec]
) -> Iterator[_Probed]:
    """What cycle and sweep (`spread`) try on a host."""
    for protocol in Protocol:
        icmp = protocol is Protocol.ICMP  # every cycle tries it
        services = host.services(protocol)
        mine = PortSet.union(ports for _, ports in services)
        cycle, sweep = (ICMP_CELL, PortSet()) if icmp else (spec.of(protocol) for spec in spread)
        # What a UDP service leaves unanswered nobody but an agent on its host can tell from what was dropped.
        required = mine if needs_a_witness(protocol, host) else cycle | sweep
        yield _Probed(
            host, environment.name, protocol, cycle, sweep, required, insides, mine, services, tuple(host.names)
        )


def needs_a_witness(protocol: Protocol, host: Host) -> bool:
    """Whether the host's ports of a protocol are beyond proof but for those of its services."""
    return protocol is Protocol.UDP and not host.owner


def _targets(
    environment: str, agent: str, owned: tuple[str, ...], layout: str, probed: Iterable[_Probed]
) -> Iterator[PlanTarget]:
    """The targets of one agent in one other environment; it has the addresses `owned`."""
    for one in probed:
        host = one.host
        known = bool(owned) and is_address(host.address)
        for address in _of_family(owned, host.address) if known else [""]:
            yield PlanTarget(
                agent=agent,
                source_environment=environment,
                source_address=address,
                destination=one.destination,
                address=host.address,
                name=next(iter(host.names), ""),
                protocol=one.protocol,
                cycle=one.cycle,
                sweep=one.sweep,
                required=one.required,
                witness=host.owner,
                insides=one.insides,
                service_ports=one.service_ports,
                services=one.services,
                names=one.names,
                elsewhere=host.elsewhere,
                layout=layout,
            )
