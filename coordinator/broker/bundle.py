"""An agent's bundle: one tar to copy to its host, with all that it needs to be let in and all that it may touch."""

from __future__ import annotations

import datetime as dt
import io
import socket
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import yaml

from coordinator.broker import enrolment, pki
from coordinator.broker.addresses import Interfaces, Whereabouts, own_interfaces
from reachability.topology import Topology, is_address
from wire.dial import parse_url


@dataclass(frozen=True, slots=True)
class Bundle:
    """The tar's bytes, when its certificate ends, what the agent may touch, and hosts whose address is not known here."""

    tar: bytes
    expires: dt.datetime
    allow: tuple[str, ...]
    unresolved: tuple[str, ...] = ()


def make_bundle(
    topology: Topology,
    agent: str,
    *,
    broker: str = "",
    coordinator: str = "",
    directory: Path,
    now: dt.datetime,
    life: dt.timedelta = pki.AGENT_LIFE,
    interfaces: Interfaces | None = None,
    generation: int | None = None,
) -> Bundle:
    """A new certificate for the agent and what goes with it; KeyError for an agent that is not declared.

    Args:
        topology: what is declared.
        agent: its name.
        broker: URL as the agent reaches it; "" for where the coordinator that ran last on these keys is found.
        coordinator: where source controls reach the coordinator, when that is not the broker's host.
        directory: of the keys.
        now: aware.
        life: of the certificate.
        interfaces: this machine's, for tests.
        generation: of the certificate; None for the one that is in force.

    Raises:
        ValueError: no broker is given, and no coordinator has left word of where it is; or its URL is none.
    """
    environment = topology.agents()[agent]
    left = Whereabouts.of(directory)
    broker = broker or left.broker
    if not broker:
        raise ValueError(
            "no coordinator has run on these keys at an address of its own: say --broker mqtts://HOST:PORT"
        )
    hosts = [*(host for host, _ in parse_url(broker)), *((coordinator,) if coordinator else left.hosts)]
    addresses = {host: resolve(host) for host in dict.fromkeys(hosts)}
    known = [address for found in addresses.values() for address in found]
    allow = allowed(topology, known, own_interfaces() if interfaces is None else interfaces)
    if generation is None:
        issued = pki.issue_agent(directory, environment, agent, now, life)
    else:
        issued = enrolment.issue(directory, environment, agent, generation, now, life)
    files = {
        "agent.yaml": configuration(topology, agent, broker, allow),
        "agent.pem": issued.certificate,
        "agent.key": issued.key,
        "ca.pem": issued.trust,
        "coordinator.pub": (directory / "coordinator.pub").read_bytes(),
    }
    return Bundle(
        _tar(files, now), issued.expires, allow, tuple(host for host, found in addresses.items() if not found)
    )


def configuration(topology: Topology, agent: str, broker: str, allow: Iterable[str]) -> bytes:
    """`agent.yaml`, as an agent is given it."""
    environment = topology.agents()[agent]
    held = {
        "name": agent,
        "environment": environment,
        "broker": broker,
        "credentials": {
            "certificate": "agent.pem",
            "key": "agent.key",
            "ca": "ca.pem",
            "coordinator": "coordinator.pub",
            "server_name": pki.BROKER_NAME,
        },
        "allow": list(allow),
        "deny": [],
        "rate_pps": topology.probing.rate_pps,
        "blackout": [],
    }
    head = f"# segwatch agent {agent} of {environment}. This host's owner may narrow allow, deny, rate_pps, flows and blackout.\n"
    return (head + yaml.safe_dump(held, sort_keys=False)).encode()


def allowed(topology: Topology, found: Iterable[str], interfaces: Interfaces) -> tuple[str, ...]:
    """The topology's networks and these addresses, the ones of their interface too where it is this machine."""
    networks = [str(network) for environment in topology.environments.values() for network in environment.networks]
    addresses = [str(ip_address(address)) for address in found]
    for own in interfaces.values():
        held = list(own)
        # Source controls of the other family reach the coordinator at these.
        if any(address in held for address in addresses):
            addresses += held
    return tuple(dict.fromkeys((*networks, *addresses)))


def resolve(host: str) -> tuple[str, ...]:
    """The addresses of a host, of an address itself; none where its name is not known."""
    if is_address(host):
        return (host,)
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _tar(files: Mapping[str, bytes], now: dt.datetime) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), 0o600, int(now.timestamp())
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
