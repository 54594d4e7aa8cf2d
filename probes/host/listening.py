"""Which ports of this host have a socket that a stranger's packet reaches: listening TCP, bound UDP."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from probes.host import netlink
from reachability.ports import PortSet
from reachability.vocabulary import Protocol

PROC_NET = Path("/proc/self/net")  # of this process's own network namespace
_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - read, not bound
_LISTEN, _UNCONNECTED = 10, 7  # TCP_LISTEN; UDP sockets that are not connected show as TCP_CLOSE
_V6ONLY = 11  # INET_DIAG_SKV6ONLY
_NUMBERS = {Protocol.TCP: (socket.IPPROTO_TCP, _LISTEN), Protocol.UDP: (socket.IPPROTO_UDP, _UNCONNECTED)}


@dataclass(frozen=True, slots=True)
class Bound:
    """Local (address, port) pairs by protocol; a wildcard is 0.0.0.0 or ::."""

    tcp: frozenset[tuple[str, int]] = field(default_factory=frozenset)
    udp: frozenset[tuple[str, int]] = field(default_factory=frozenset)

    def __or__(self, other: Bound) -> Bound:
        """Sockets of either: what was bound at one moment or at another."""
        return Bound(self.tcp | other.tcp, self.udp | other.udp)

    def reaches(self, address: str, protocol: Protocol, port: int) -> bool:
        """Whether a packet to the address finds a socket."""
        pairs = self.tcp if protocol is Protocol.TCP else self.udp
        return (address, port) in pairs or (_ANY[6 if ":" in address else 4], port) in pairs

    def ports(self, address: str, protocol: Protocol) -> PortSet:
        """All ports with a socket that the address reaches."""
        pairs = self.tcp if protocol is Protocol.TCP else self.udp
        wanted = {address, _ANY[6 if ":" in address else 4]}
        return PortSet.of(port for local, port in pairs if local in wanted and port)


def read_bound() -> Bound:
    """All bound sockets, by sock_diag; from /proc where the kernel has no sock_diag for the protocol."""
    return Bound(frozenset(_of(Protocol.TCP)), frozenset(_of(Protocol.UDP)))


def _of(protocol: Protocol) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for family in (4, 6):
        try:
            found.update(_diag(protocol, family))
        except OSError:
            text = _table(protocol, family)
            found.update(parse_table(text, protocol, family))
    return found


def _diag(protocol: Protocol, family: int) -> Iterator[tuple[str, int]]:
    number, state = _NUMBERS[protocol]
    asked = socket.AF_INET if family == 4 else socket.AF_INET6  # noqa: PLR2004
    body = struct.pack("=BBBxI48x", asked, number, 0, 1 << state)
    for answer in netlink.dump(netlink.NETLINK_SOCK_DIAG, netlink.SOCK_DIAG_BY_FAMILY, body):
        port = netlink.values("!H", answer, 4)[0]
        local = netlink.address(answer[8 : 12 if answer[0] == socket.AF_INET else 24])
        only6 = any(kind == _V6ONLY and value[:1] == b"\1" for kind, value in netlink.attributes(answer, 72))
        yield from _reached(local, port, only6=only6)


def _table(protocol: Protocol, family: int) -> str:
    try:
        return (PROC_NET / f"{protocol.value}{'6' if family == 6 else ''}").read_text()  # noqa: PLR2004
    except FileNotFoundError:  # IPv6 is off
        return ""


def parse_table(text: str, protocol: Protocol, family: int) -> Iterator[tuple[str, int]]:
    """Bound sockets of a /proc/net table. It does not tell v6-only sockets, which count for IPv4 too then."""
    for line in text.splitlines()[1:]:
        columns = line.split()
        if len(columns) < 4 or int(columns[3], 16) != _NUMBERS[protocol][1]:  # noqa: PLR2004
            continue
        raw, _, port = columns[1].partition(":")
        words = [int(raw[at : at + 8], 16) for at in range(0, len(raw), 8)]  # each in the host's byte order
        local = netlink.address(struct.pack(f"={len(words)}I", *words))
        if len(words) == (1 if family == 4 else 4):  # noqa: PLR2004
            yield from _reached(local, int(port, 16), only6=False)


def _reached(local: str, port: int, *, only6: bool) -> Iterator[tuple[str, int]]:
    """A wildcard IPv6 socket takes IPv4 too unless it says otherwise; a v4-mapped address is an IPv4 one."""
    if local.startswith("::ffff:") and "." in local:
        yield local.removeprefix("::ffff:"), port
        return
    yield local, port
    if local == _ANY[6] and not only6:
        yield _ANY[4], port
