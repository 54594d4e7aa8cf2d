"""What the command line of a try names: ports of this host, controls, a place to meet; all of it made into addresses."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import click

from cli.errors import Problem
from reachability.ports import PortSet
from reachability.topology import PortSpec, is_address
from wire.trial import MOST_PORTS, Asked

_MOST_PORT = 65535
_PART = re.compile(
    r"(?:(?P<host>\[[^\]]+\]|[^\s:/\[\]]+):)?(?:(?P<icmp>icmp)|(?:(?P<protocol>tcp|udp)/)?(?P<low>\d+)(?:-(?P<high>\d+))?)"
)


@dataclass(slots=True)
class _Wanted:
    tcp: PortSet = field(default_factory=PortSet)
    udp: PortSet = field(default_factory=PortSet)
    icmp: bool = False


def asked_of(texts: Iterable[str], own: Sequence[str], meet: int) -> tuple[Asked, ...]:
    """`10.30.0.10:22,8000,udp/53` as what is asked of each address; a part without a host is of the one before it.

    Args:
        texts: as --to has them.
        own: this host's addresses; no other can be witnessed.
        meet: the port where the reports meet, which no probe may go to.

    Raises:
        click.UsageError: a part that cannot be read.
        Problem: an address that is not this host's, the meeting port, too many ports.
    """
    wanted: dict[str, _Wanted] = {}
    for text in texts:
        here: tuple[str, ...] = ()
        for part in text.split(","):
            found = _PART.fullmatch(part.strip())
            if found is None:
                raise click.UsageError(f"'{part.strip()}' is not HOST:PORT; {_HOW}")
            if found["host"]:
                here = _own(found["host"].strip("[]"), own)
            if not here:
                raise click.UsageError(f"'{part.strip()}' names no address of this host; {_HOW}")
            for address in here:
                _add(wanted.setdefault(address, _Wanted()), found, part.strip())
    asked = tuple(Asked(a, w.tcp, w.udp, w.icmp) for a, w in wanted.items())
    if any(meet in w.tcp or meet in w.udp for w in wanted.values()):
        raise Problem(f"port {meet} is where the reports meet", "--meet PORT puts that elsewhere.")
    if sum(map(len, asked)) > MOST_PORTS:
        raise Problem(
            f"{sum(map(len, asked))} ports are more than the {MOST_PORTS} of a try",
            "Ask for fewer; agents and a coordinator sweep all of them (`segwatch verify --sweep`).",
        )
    return asked


_HOW = "write 10.0.0.1:22, [fd00::1]:tcp/80-90, 10.0.0.1:udp/53 or 10.0.0.1:icmp, further ports behind commas"


def _add(wanted: _Wanted, found: re.Match[str], part: str) -> None:
    if found["icmp"]:
        wanted.icmp = True
        return
    try:
        ports = PortSet.from_ranges([(int(found["low"]), int(found["high"] or found["low"]))])
    except ValueError as error:
        raise click.UsageError(f"'{part}': {error}") from None
    if found["protocol"] == "udp":
        wanted.udp |= ports
    else:
        wanted.tcp |= ports


def _own(host: str, own: Sequence[str]) -> tuple[str, ...]:
    """The addresses of this host that a host names."""
    addresses = (str(ip_address(host)),) if is_address(host) else resolve(host)
    mine = tuple(address for address in addresses if address in own)
    if not mine:
        raise Problem(
            f"{host} is not an address of this host that others can reach",
            f"Its addresses: {', '.join(own) or 'none'}. Run this on the host that owns the address: it is the witness.",
        )
    return mine


def resolve(host: str) -> tuple[str, ...]:
    """The addresses of a name; Problem when there are none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Problem(f"'{host}' does not resolve: {getattr(error, 'strerror', None) or error}") from error
    return tuple(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


def place(text: str, *, what: str) -> tuple[str, int]:
    """HOST:PORT as (host, port), IPv6 in brackets; `what`: the option that names it."""
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare or (":" in bare and bare == host):
        raise click.UsageError(f"{what} '{text}' is not HOST:PORT (IPv6 as [fd00::1]:PORT)")
    return bare, port_of(port, what=what)


def port_of(text: str, *, what: str) -> int:
    """A port; UsageError for anything else."""
    if not text.isdecimal() or not 0 < int(text) <= _MOST_PORT:
        raise click.UsageError(f"{what}: '{text}' is not a port from 1 to {_MOST_PORT}")
    return int(text)


def words(asked: Iterable[Asked]) -> list[str]:
    """What is asked, for people."""
    return [f"{a.address} {PortSpec(a.tcp, a.udp, a.icmp)}" for a in asked]
