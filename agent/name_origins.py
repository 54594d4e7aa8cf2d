"""Where this host has the addresses of a name from: its hosts file, DNS (as which name, for how long, by a wildcard), or elsewhere.

It explains an answer and changes none: what a name leads to is what the host's own resolver says (`agent.names`).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from reachability.observation import Lookup
from reachability.topology import family, is_address
from reachability.vocabulary import NameOrigin

HOSTS, RESOLV_CONF = Path("/etc/hosts"), Path("/etc/resolv.conf")
DNS_S = 1.0  # of one question
AGAIN_S = 600.0  # servers see and may log each question: what they said of a name holds so long
MOST_HOSTS = 1_000_000  # bytes of a hosts file


class Said(NamedTuple):
    """What DNS has: the whole name that it was asked for in the end, the addresses, and their TTL in seconds."""

    full_name: str
    addresses: tuple[str, ...]
    ttl_s: int


Ask = Callable[[str, str, bool], Said | None]


def by_dns(name: str, kind: str, search: bool, config: Path = RESOLV_CONF, port: int = 53) -> Said | None:
    """Ask the servers of this host for A or AAAA records (`kind`), with its search domains or without; None: there are none.

    Raises:
        OSError: they could not be asked.
    """
    from dns.exception import DNSException  # noqa: PLC0415 - dnspython, 4 MiB, where names are declared
    from dns.resolver import NXDOMAIN, NoAnswer, Resolver  # noqa: PLC0415

    try:
        resolver = Resolver(str(config))
        resolver.port = port
        found = resolver.resolve(name, kind, search=search, lifetime=DNS_S)
    except (NXDOMAIN, NoAnswer):
        return None
    except (DNSException, ValueError) as error:
        raise OSError(f"DNS: {error}") from error
    addresses = tuple(str(record.address) for record in found)
    return Said(found.qname.to_text(omit_final_dot=True), addresses, found.chaining_result.minimum_ttl)


class Origins:
    """Remembers what DNS said for ten minutes; the hosts file is read each time. May be used by many threads at once."""

    def __init__(self, ask: Ask = by_dns, hosts: Path = HOSTS, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._hosts, self._clock = ask, hosts, clock
        self._known: dict[str, tuple[float, Lookup]] = {}

    def of(self, found: Lookup) -> Lookup:
        """The same with its origin; without one where there is no name or no address, or DNS could not be asked. Blocks."""
        if not found.addresses or is_address(found.name):
            return found
        here = in_hosts(self._text(), found.name)
        if here and here.issuperset(found.addresses):
            return replace(found, origin=NameOrigin.HOSTS_FILE)
        at, known = self._known.get(found.name, (0.0, None))
        if known is None or self._clock() - at >= AGAIN_S:
            known = self._by_dns(found)
            self._known[found.name] = self._clock(), known
        return replace(known, addresses=found.addresses)

    def _by_dns(self, found: Lookup) -> Lookup:
        kind = "A" if any(family(address) == 4 for address in found.addresses) else "AAAA"  # noqa: PLR2004 - IPv4
        try:
            said = self._ask(found.name, kind, True)
            if said is None:
                return replace(found, origin=NameOrigin.OTHER)
            above = said.full_name.partition(".")[2]
            made_up = self._ask(f"segwatch-{secrets.token_hex(4)}.{above}", kind, False) if above else None
        except OSError:
            return found
        return replace(
            found,
            origin=NameOrigin.DNS,
            full_name="" if _same(said.full_name, found.name) else said.full_name,
            ttl_s=said.ttl_s,
            wildcard=f"*.{above}"
            if made_up is not None and not {*made_up.addresses}.isdisjoint(said.addresses)
            else "",
        )

    def _text(self) -> str:
        try:
            with self._hosts.open(encoding="utf-8", errors="replace") as file:
                return file.read(MOST_HOSTS)
        except OSError:
            return ""


def in_hosts(text: str, name: str) -> set[str]:
    """The addresses that a hosts file (hosts(5)) has for a name."""
    found = set()
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if any(_same(each, name) for each in names):
            try:
                found.add(str(ip_address(address.partition("%")[0])))
            except ValueError:
                continue  # as libc does
    return found


def _same(one: str, other: str) -> bool:
    return one.rstrip(".").lower() == other.rstrip(".").lower()
