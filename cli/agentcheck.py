"""`segwatch agent --check`: what an agent holds and what it lacks, a line each."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from agent.config import AgentConfig
from agent.identity import lacks_raw, own_addresses
from wire.mqtt import Broker, Link
from wire.topics import all_down

CONNECT_S = 6.0
SOON = dt.timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that an agent needs: `lacks` says what is missing and what to do, empty when nothing is."""

    what: str
    holds: str
    lacks: tuple[str, ...] = ()


def examine(config: AgentConfig, state_dir: Path, now: dt.datetime) -> Iterator[Line]:
    """Every check, as it is made."""
    yield _identity(config, state_dir, now)
    yield _broker(config, state_dir)
    yield _raw()
    yield _namespace()
    narrowed = f", denied: {', '.join(config.deny)}" if config.deny else ""
    windows = f", {len(config.blackout)} blackout windows" if config.blackout else ""
    yield Line("allow-list", f"{', '.join(config.allow)}{narrowed}; at most {config.rate_pps} packets/s{windows}")


def _identity(config: AgentConfig, state_dir: Path, now: dt.datetime) -> Line:
    certificate = x509.load_pem_x509_certificate((state_dir / config.credentials.certificate).read_bytes())
    name = _attribute(certificate, NameOID.COMMON_NAME)
    environment = _attribute(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)
    ends = certificate.not_valid_after_utc
    renew = f"make a new bundle on the coordinator's host: segwatch pki agent {config.name} …"
    holds = f"{name} of {environment}, certificate until {ends:%Y-%m-%d} ({(ends - now).days} days)"
    if (name, environment) != (config.name, config.environment):
        return Line("identity", holds, (f"the configuration says {config.name} of {config.environment}", renew))
    if now > ends:
        return Line("identity", holds, ("the certificate has expired: the broker refuses it", renew))
    if now > ends - SOON:
        return Line("identity", holds, ("the certificate ends soon", renew))
    return Line("identity", holds)


def _broker(config: AgentConfig, state_dir: Path) -> Line:
    held = config.credentials
    broker = Broker.parse(
        config.broker,
        ca=state_dir / held.ca,
        certificate=state_dir / held.certificate,
        key=state_dir / held.key,
        server_name=held.server_name,
    )
    link = Link(broker, subscriptions=all_down(config.environment, config.name))

    async def connect() -> str:
        async with link:
            try:
                async with asyncio.timeout(CONNECT_S):
                    await link.wait_connected()
            except TimeoutError:
                return link.problem
        return ""

    start = time.perf_counter()
    problem = asyncio.run(connect())
    if problem:
        return Line(
            "broker",
            config.broker,
            (problem, "Is the coordinator running there, is this agent in its topology, and is TCP to it let through?"),
        )
    return Line("broker", f"{config.broker} lets it in, {(time.perf_counter() - start) * 1000:.0f} ms")


def _raw() -> Line:
    if why := lacks_raw():
        return Line(
            "raw packets",
            "",
            (
                f"{why}: no witness here, and cells that need one will be inconclusive.",
                "To grant it: AmbientCapabilities=CAP_NET_RAW in the unit, or run it as root.",
            ),
        )
    return Line("raw packets", "CAP_NET_RAW: it can witness, and send raw")


def _namespace() -> Line:
    addresses = own_addresses()
    where = Path("/proc/self/ns/net").readlink().name
    host = _is_hosts_namespace()
    kind = "the host's" if host else "not the host's own" if host is not None else "cannot tell whose"
    if not addresses:
        return Line("network", f"{where} ({kind})", ("no address here that others could reach",))
    return Line("network", f"{', '.join(addresses)}, namespace {where} ({kind})")


def _is_hosts_namespace() -> bool | None:
    """Whether it is the one of process 1; None without the right to see."""
    try:
        return Path("/proc/1/ns/net").readlink() == Path("/proc/self/ns/net").readlink()
    except OSError:
        return None


def _attribute(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(oid)
    return str(found[0].value) if found else ""
