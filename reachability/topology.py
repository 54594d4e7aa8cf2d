"""The declared estate as values: what `topology.yaml` says, checked and normalised, with the place of every line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import assert_never

from reachability.ports import ICMP_CELL, PortSet
from reachability.vocabulary import Declared, Protocol, Require, Sensitivity

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
_WIDEST = {4: 8, 6: 32}  # prefix lengths: 16 million addresses, what a provider has of IPv6


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a topology file; lines and columns count from 1."""

    line: int = 0
    column: int = 0
    end_line: int = 0


@dataclass(frozen=True, slots=True)
class PortSpec:
    """Ports by protocol; ICMP is there or not."""

    tcp: PortSet = PortSet()
    udp: PortSet = PortSet()
    icmp: bool = False

    def of(self, protocol: Protocol) -> PortSet:
        """The ports of one protocol."""
        match protocol:
            case Protocol.TCP:
                return self.tcp
            case Protocol.UDP:
                return self.udp
            case Protocol.ICMP:
                return ICMP_CELL if self.icmp else PortSet()
            case _:
                assert_never(protocol)

    def __or__(self, other: PortSpec) -> PortSpec:
        """Union."""
        return PortSpec(self.tcp | other.tcp, self.udp | other.udp, self.icmp or other.icmp)

    def __bool__(self) -> bool:
        """Whether it names anything."""
        return bool(self.tcp or self.udp or self.icmp)

    def __str__(self) -> str:
        """As a topology file writes it: `tcp/22,80 udp/53 icmp`."""
        parts = [f"tcp/{self.tcp}"] * bool(self.tcp) + [f"udp/{self.udp}"] * bool(self.udp) + ["icmp"] * self.icmp
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class DeclaredAgent:
    """An agent of an environment. No addresses: it reports its own."""

    name: str
    addresses: tuple[str, ...] = ()
    mark: Mark = Mark()


@dataclass(frozen=True, slots=True)
class Service:
    """A service: hosts are normalised addresses or DNS names."""

    name: str
    hosts: tuple[str, ...]
    ports: PortSpec
    kind: str = ""
    holds: tuple[str, ...] = ()
    sweep: bool = True
    mark: Mark = Mark()


@dataclass(frozen=True, slots=True)
class Environment:
    """A named part of the estate."""

    name: str
    networks: tuple[Network, ...]
    agents: Mapping[str, DeclaredAgent] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    sensitivity: Sensitivity = Sensitivity.MEDIUM
    require: Require = Require.NO_SESSION
    mark: Mark = Mark()

    def contains(self, address: str) -> bool:
        """Whether the address is in one of its networks; False for a DNS name."""
        return in_networks(address, self.networks)


@dataclass(frozen=True, slots=True)
class Selector:
    """One end of a path or waiver: `environment`, `environment.member` (agent or service), a CIDR or `environment.CIDR`.

    A range has the environment that it belongs to, "" where it reaches beyond the networks of any.
    """

    text: str
    environment: str = ""
    agent: str = ""
    service: str = ""
    network: Network | None = None


@dataclass(frozen=True, slots=True)
class Path:
    """A declared path. `ports` None: the service's own ports, or every port where no service is named."""

    name: str
    source: Selector
    destination: Selector
    ports: PortSpec | None = None
    expect: Declared = Declared.ALLOWED
    owner: str = ""
    justification: str = ""
    mark: Mark = Mark()


@dataclass(frozen=True, slots=True)
class Waiver:
    """A known breach, accepted until `expires` (an aware time)."""

    id: str
    source: Selector
    destination: Selector
    ports: PortSpec | None
    owner: str
    justification: str
    expires: datetime
    mark: Mark = Mark()


@dataclass(frozen=True, slots=True)
class Blackout:
    """A window without probing: it opens when the cron expression fires in `timezone` and lasts `for_s`."""

    cron: str
    for_s: float
    timezone: str = "UTC"
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True)
class Probing:
    """When and how hard the agents probe. `sweep_every_s` None: no sweep is scheduled."""

    every_s: float = 60.0
    sweep_every_s: float | None = None
    sweep_ports: PortSpec = PortSpec()
    rate_pps: int = 1000
    flows: int = 50_000  # entries that an agent may hold in connection tables at a time
    spread_s: float = 4.0  # over which the copies of a silent cell leave: a shorter outage cannot have taken them all
    blackout: tuple[Blackout, ...] = ()
    confirm: int = 2


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole topology file, loaded without errors. `digest` is the SHA-256 of the file's bytes, in hex."""

    environments: Mapping[str, Environment]
    paths: tuple[Path, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    probing: Probing = Probing()
    version: int = 1
    file: str = "topology.yaml"
    digest: str = ""

    def agents(self) -> Mapping[str, str]:
        """Agent name to the name of its environment."""
        return {agent: env.name for env in self.environments.values() for agent in env.agents}


def is_wide(network: Network) -> bool:
    """Whether a network is wider than any that is likely to be meant: than a /8, of IPv6 a /32."""
    return network.prefixlen < _WIDEST[network.version]


def is_address(text: str) -> bool:
    """Whether the text is an IP address rather than a DNS name."""
    return _parsed(text) is not None


def is_anothers(address: str) -> bool:
    """Whether another host can have the address: not loopback, link-local, multicast or unspecified. False for a name."""
    found = _parsed(address)
    own = found is None or found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified
    return not own


def family(address: str) -> int:
    """4 or 6; ValueError for a name."""
    found = _parsed(address)
    if found is None:
        raise ValueError(f"'{address}' is not an IP address")
    return found.version


def in_networks(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether the address is in one of the networks; False for a DNS name."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


@lru_cache(maxsize=16_384)  # more than the hosts of a large estate: plans go round them in order
def _parsed(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
