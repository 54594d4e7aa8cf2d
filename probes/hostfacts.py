"""What the kernel's tables of this network namespace say: sockets, and counters of what was lost or refused."""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path

from reachability.vocabulary import Protocol

PROC = Path("/proc/net")
_LISTEN = "0A"
_DROPS = ("ListenOverflows", "ListenDrops", "IPReversePathFilter", "TCPMD5NotFound", "TCPMD5Unexpected", "TCPMD5Failure")
_TABLES = {Protocol.TCP: ("tcp", "tcp6"), Protocol.UDP: ("udp", "udp6")}


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One reading. `bound` holds (address or "" for any, port) of listening TCP and bound UDP sockets."""

    bound: dict[Protocol, frozenset[tuple[str, int]]] = field(default_factory=dict)
    noports: dict[int, int] = field(default_factory=dict)  # family -> Udp NoPorts
    drops: int = 0  # ListenOverflows, ListenDrops, reverse-path and MD5 counters together
    lost: int = 0  # softnet backlog and interface errors: packets that no capture saw

    def ports(self, protocol: Protocol, address: str) -> set[int]:
        """Ports at which a socket would get a packet to this address."""
        return {port for at, port in self.bound.get(protocol, ()) if at in ("", address)}


def read(proc: Path = PROC) -> HostFacts:
    """Read the tables; one that is not there counts as empty."""
    bound = {
        protocol: frozenset(entry for table in tables for entry in _sockets(proc / table, protocol))
        for protocol, tables in _TABLES.items()
    }
    netstat, snmp = _pairs(proc / "netstat"), _pairs(proc / "snmp")
    noports = {4: snmp.get("Udp.NoPorts", 0), 6: _snmp6(proc / "snmp6").get("Udp6NoPorts", 0)}
    drops = sum(value for name, value in netstat.items() if name.split(".")[-1] in _DROPS)
    return HostFacts(bound, noports, drops, _softnet(proc / "softnet_stat") + _interface_errors(proc / "dev"))


def _lines(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text("ascii", "replace").splitlines()
    return []


def _sockets(path: Path, protocol: Protocol) -> list[tuple[str, int]]:
    found = []
    for line in _lines(path)[1:]:
        fields = line.split()
        if protocol is Protocol.TCP and fields[3] != _LISTEN:
            continue
        host, port = fields[1].split(":")
        found.append((_address(host), int(port, 16)))
    return found


def _address(text: str) -> str:
    """The kernel writes words of 32 bits in the host's order; the wildcards of both families become ""."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    raw = b"".join(struct.pack("=I", word) for word in words)
    if not any(raw):
        return ""
    if len(raw) == 16 and raw.startswith(bytes(10) + b"\xff\xff"):  # noqa: PLR2004 - IPv4 in IPv6
        raw = raw[12:]
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)  # noqa: PLR2004


def _pairs(path: Path) -> dict[str, int]:
    """A line of names and a line of values each, as in snmp and netstat."""
    lines = _lines(path)
    values = {}
    for names, numbers in zip(lines[::2], lines[1::2], strict=False):
        group, _, rest = names.partition(":")
        for name, number in zip(rest.split(), numbers.partition(":")[2].split(), strict=False):
            values[f"{group}.{name}"] = int(number)
    return values


def _snmp6(path: Path) -> dict[str, int]:
    return {parts[0]: int(parts[1]) for line in _lines(path) if len(parts := line.split()) == 2}  # noqa: PLR2004


def _softnet(path: Path) -> int:
    """Packets that found the backlog full, over all processors of the machine."""
    return sum(int(line.split()[1], 16) for line in _lines(path))


def _interface_errors(path: Path) -> int:
    """Receive errors and overruns. Not `drop`: it counts packets of protocols that nobody here speaks."""
    total = 0
    for line in _lines(path)[2:]:
        fields = line.partition(":")[2].split()
        total += int(fields[2]) + int(fields[4])
    return total
