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

from coordinator.broker import pki
from coordinator.broker.addresses import Interfaces, own_interfaces
from reachability.topology import Topology, is_address
from wire.dial import parse_url


@dataclass(frozen=True, slots=True)
class Bundle:
    """The tar's bytes and when its certificate ends."""

    tar: bytes
    expires: dt.datetime
    allow: tuple[str, ...]


def make_bundle(
    topology: Topology,
    agent: str,
    *,
    broker: str,
    coordinator: str = "",
    directory: Path,
    now: dt.datetime,
    life: dt.timedelta = pki.AGENT_LIFE,
    interfaces: Interfaces | None = None,
) -> Bundle:
    """A new certificate for the agent and what goes with it; KeyError for an agent that is not declared.

    `coordinator` is where source controls reach the coordinator, when that is not the broker's host.
    """
    environment = topology.agents()[agent]
    hosts = [host for host, _ in parse_url(broker)] + ([coordinator] if coordinator else [])
    allow = allowed(topology, hosts, own_interfaces() if interfaces is None else interfaces)
    issued = pki.issue_agent(directory, environment, agent, now, life)
    configuration = {
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
    files = {
        "agent.yaml": (head + yaml.safe_dump(configuration, sort_keys=False)).encode(),
        "agent.pem": issued.certificate,
        "agent.key": issued.key,
        "ca.pem": (directory / "ca.pem").read_bytes(),
        "coordinator.pub": (directory / "coordinator.pub").read_bytes(),
    }
    return Bundle(_tar(files, now), issued.expires, allow)


def allowed(topology: Topology, hosts: Iterable[str], interfaces: Interfaces) -> tuple[str, ...]:
    """The topology's networks and the hosts' addresses, the ones of their interface too where it is this machine."""
    networks = [str(network) for environment in topology.environments.values() for network in environment.networks]
    found = [address for host in hosts for address in ((host,) if is_address(host) else _resolve(host))]
    addresses = [str(ip_address(address)) for address in found]
    for own in interfaces.values():
        held = list(own)
        # Source controls of the other family reach the coordinator at these.
        if any(address in held for address in addresses):
            addresses += held
    return tuple(dict.fromkeys((*networks, *addresses)))


def _resolve(host: str) -> tuple[str, ...]:
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()  # the agent's host may know the name all the same; its controls then need a line in `allow`
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _tar(files: Mapping[str, bytes], now: dt.datetime) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), 0o600, int(now.timestamp())
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
