"""Where the coordinator listens, and at which of this machine's addresses it can be reached."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

import psutil

from reachability.topology import is_address

Interfaces = Mapping[str, Iterable[str]]  # name -> its addresses
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - what to dial where it listens


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the broker listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Read `HOST:PORT` or `[IPv6]:PORT`; ValueError says what is wrong."""
        host, colon, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not colon or not port.isdigit() or not 0 < int(port) <= 65535 or (":" in bare and bare == host):  # noqa: PLR2004
            raise ValueError(f"'{text}' is not ADDRESS:PORT or [IPv6]:PORT")
        return cls(bare, int(port))

    @property
    def dial(self) -> str:
        """The address by which this machine reaches it."""
        return WILDCARDS.get(self.host, self.host)

    def hosts(self) -> tuple[str, ...]:
        """What the certificate names: the address, or all of this machine's where it listens on all."""
        if self.host not in WILDCARDS:
            return (self.host,)
        own = [address for addresses in own_interfaces().values() for address in addresses]
        return tuple(dict.fromkeys((*filter(_is_global, own), "127.0.0.1", "::1", "localhost")))


def addresses_of(listen: Listen) -> tuple[str, ...]:
    """Where agents' source controls may reach this coordinator: the address it listens on, and others beside it.

    Those of the same interface answer in the other family; where it listens on all, all of them.
    """
    interfaces = [list(filter(_is_global, addresses)) for addresses in own_interfaces().values()]
    if listen.host == listen.dial:
        if not _is_global(listen.host):
            return (listen.host,)
        beside = [address for own in interfaces if listen.host in own for address in own]
        return tuple(dict.fromkeys((listen.host, *beside)))
    return tuple(dict.fromkeys(address for own in interfaces for address in own))


def own_interfaces() -> dict[str, list[str]]:
    """This machine's addresses, by interface, without link-local ones."""
    found: dict[str, list[str]] = {}
    for name, entries in psutil.net_if_addrs().items():
        for entry in entries:
            if entry.family in {socket.AF_INET, socket.AF_INET6} and not ip_address(entry.address).is_link_local:
                found.setdefault(name, []).append(str(ip_address(entry.address)))
    return found


def _is_global(address: str) -> bool:
    """Whether it is an address that others can reach; a name is not."""
    return is_address(address) and not (ip_address(address).is_loopback or ip_address(address).is_link_local)
