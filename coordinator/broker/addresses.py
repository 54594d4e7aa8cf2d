"""Where the coordinator listens, and at which of this machine's addresses it can be reached."""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass

import psutil

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
        addresses = [address.address for many in psutil.net_if_addrs().values() for address in many]
        own = [address for address in addresses if _is_global(address)]
        return tuple(dict.fromkeys((*own, "127.0.0.1", "::1", "localhost")))


def addresses_of(listen: Listen) -> tuple[str, ...]:
    """Where agents' source controls may reach this coordinator: the address it listens on, and others beside it.

    Those of the same interface answer in the other family; where it listens on all, all of them.
    """
    interfaces = [
        [address.address for address in addresses if _is_global(address.address)]
        for addresses in psutil.net_if_addrs().values()
    ]
    if listen.host == listen.dial:
        if not _is_global(listen.host):
            return (listen.host,)
        beside = [address for own in interfaces if listen.host in own for address in own]
        return tuple(dict.fromkeys((listen.host, *beside)))
    return tuple(dict.fromkeys(address for own in interfaces for address in own))


def _is_global(address: str) -> bool:
    with contextlib.suppress(ValueError):
        parsed = ipaddress.ip_address(address)
        return not (parsed.is_loopback or parsed.is_link_local)
    return False
