"""`segwatch agent --check`: what an agent holds and what it lacks, a line each."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from agent.config import AgentConfig, broker_of, credential
from agent.identity import lacks_netlink, own_addresses
from agent.offset import recorded
from agent.renewal import try_out
from cli.agent import sandbox
from cli.agent.line import Line
from cli.show.roster import SKEW_S, apart
from wire.certificates import ends_soon
from wire.topics import all_down

CONNECT_S = 6.0


def examine(config: AgentConfig, state_dir: Path, user: str, now: dt.datetime) -> Iterator[Line]:
    """Every check, as it is made; `user` is the one to change to, "" for the usual one."""
    yield _identity(config, state_dir, now)
    yield _broker(config, state_dir)
    yield _clock(state_dir)
    yield from sandbox.lines(state_dir, user)
    yield _namespace()
    narrowed = f", denied: {', '.join(config.deny)}" if config.deny else ""
    windows = f", {len(config.blackout)} blackout windows" if config.blackout else ""
    yield Line("allow-list", f"{', '.join(config.allow)}{narrowed}; at most {config.rate_pps} packets/s{windows}")


def _identity(config: AgentConfig, state_dir: Path, now: dt.datetime) -> Line:
    certificate = x509.load_pem_x509_certificate(credential(config, state_dir)[0].read_bytes())
    name = _attribute(certificate, NameOID.COMMON_NAME)
    environment = _attribute(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)
    ends = certificate.not_valid_after_utc
    renew = f"make a new bundle on the coordinator's host: segwatch pki renew {config.name} …"
    holds = f"{name} of {environment}, certificate until {ends:%Y-%m-%d} ({(ends - now).days} days)"
    if (name, environment) != (config.name, config.environment):
        return Line("identity", holds, (f"the configuration says {config.name} of {config.environment}", renew))
    if now > ends:
        return Line("identity", holds, ("the certificate has expired: the broker refuses it", renew))
    if ends_soon(certificate.not_valid_before_utc.timestamp(), ends.timestamp(), now.timestamp()):
        missed = "the certificate ends soon; a running agent renews it before: its log says why it has not"
        return Line("identity", holds, (missed, renew))
    return Line("identity", holds)


def _broker(config: AgentConfig, state_dir: Path) -> Line:
    start = time.perf_counter()
    subscriptions = all_down(config.environment, config.name)
    problem = asyncio.run(try_out(broker_of(config, state_dir), subscriptions, CONNECT_S))
    if problem:
        return Line(
            "broker",
            config.broker,
            (problem, "Is the coordinator running there, is this agent in its topology, and is TCP to it let through?"),
        )
    return Line("broker", f"{config.broker} lets it in, {(time.perf_counter() - start) * 1000:.0f} ms")


def _clock(state_dir: Path) -> Line:
    known = recorded(state_dir)
    if known is None:
        return Line("clock", "not compared with the coordinator's yet; orders do not depend on it")
    ahead_s, at = known
    when = dt.datetime.fromtimestamp(at, dt.UTC)
    how = "in step with" if abs(ahead_s) < SKEW_S else apart(ahead_s)
    return Line("clock", f"{how} the coordinator's, at {when:%Y-%m-%d %H:%M} UTC; orders do not depend on it")


def _namespace() -> Line:
    where = Path("/proc/self/ns/net").readlink().name
    host = _is_hosts_namespace()
    kind = "the host's" if host else "not the host's own" if host is not None else "cannot tell whose"
    if why := lacks_netlink():
        return Line("network", f"{where} ({kind})", (f"its addresses cannot be read: {why}",))
    addresses = own_addresses()
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
