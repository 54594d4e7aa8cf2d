"""Where the coordinator listens, and at which of this machine's addresses it can be reached."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import msgspec
import psutil

from reachability.topology import is_address
from wire.dial import Endpoint
from wire.keyfiles import write_private

FOUND_AT = "coordinator.json"  # in the PKI directory: what the coordinator last said of where agents find it
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\.?")
Interfaces = Mapping[str, Iterable[str]]  # name -> its addresses
_REMEDIES = {
    errno.EADDRINUSE: ". Stop what listens there (ss -ltnp 'sport = :{port}' shows it), or name another port",
    errno.EADDRNOTAVAIL: ". Name an address of this host (ip address shows them), or 0.0.0.0 for all of them",
    errno.EACCES: ". Ports below 1024 need root or CAP_NET_BIND_SERVICE; name another port",
}
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - what to dial where it listens


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the broker listens; its certificate names `also`."""

    host: str
    port: int
    also: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Read `HOST:PORT` or `[IPv6]:PORT`; ValueError says what is wrong."""
        host, colon, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not colon or not port.isdigit() or not 0 < int(port) <= 65535 or (":" in bare and bare == host):  # noqa: PLR2004
            raise ValueError(f"'{text}' is not ADDRESS:PORT or [IPv6]:PORT")
        return cls(bare, int(port))

    @classmethod
    def advertised(cls, text: str, port: int) -> Listen:
        """Read `HOST`, `HOST:PORT`, an IPv6 address or `[IPv6]:PORT`; `port` where it has none; ValueError as `parse`."""
        bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        found = cls(bare, port) if is_address(bare) or ":" not in text else cls.parse(text)
        if found.host in WILDCARDS or not (is_address(found.host) or _HOST.fullmatch(found.host)):
            raise ValueError(
                f"'{text}' is not the address or name of a host, with :PORT where it is another than {port}"
            )
        return found

    @property
    def endpoint(self) -> Endpoint:
        """Host and port."""
        return self.host, self.port

    def __str__(self) -> str:
        """As a URL has it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether nobody else can reach it."""
        return self.host == "localhost" or (is_address(self.host) and ip_address(self.host).is_loopback)

    @property
    def dial(self) -> str:
        """The address by which this machine reaches it."""
        return WILDCARDS.get(self.host, self.host)

    def hosts(self) -> tuple[str, ...]:
        """What the certificate names: the address, or all of this machine's where it listens on all."""
        if self.host not in WILDCARDS:
            return tuple(dict.fromkeys((self.host, *self.also)))
        own = [address for addresses in own_interfaces().values() for address in addresses]
        return tuple(dict.fromkeys((*filter(_is_global, own), "127.0.0.1", "::1", "localhost", *self.also)))


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


class Whereabouts(msgspec.Struct, frozen=True):
    """Where agents find the broker (a URL) and the coordinator (hosts), as it left word beside the keys at its last start."""

    broker: str = ""
    hosts: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The first place of the broker, as a URL has it; "" where none is known."""
        return self.broker.removeprefix("mqtts://").partition(",")[0]

    def leave(self, pki: Path) -> None:
        """Write it for new bundles; OSError as writing has it."""
        write_private(pki / FOUND_AT, msgspec.json.encode(self) + b"\n")

    @classmethod
    def of(cls, pki: Path) -> Whereabouts:
        """What was left; empty where no coordinator ran on these keys, or where the file cannot be read."""
        try:
            return msgspec.json.decode((pki / FOUND_AT).read_bytes(), type=cls)
        except (OSError, ValueError):
            return cls()


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


def cannot_listen(who: str, where: Endpoint, error: OSError) -> str:
    """What to say where something cannot listen: why, and what to do."""
    host, port = where
    why = os.strerror(error.errno) if error.errno in _REMEDIES else error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0, "").format(port=port)
    return f"{who} cannot listen on {host}{f' port {port}' if port else ''}: {why}{remedy}"
