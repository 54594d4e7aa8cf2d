"""Every probe kind there is. One literal table: one grep finds them all, and nothing registers itself."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType

from probes.kinds import dns, icmp, tcp, tls, udp
from probes.kinds.single import ProbeRequest, ProbeResult, failed
from probes.protocols.dns import resolve
from reachability.vocabulary import Protocol, Reason


@dataclass(frozen=True, slots=True)
class Kind:
    """A probe kind: its module, whose docstring says what it proves, and what one probe is."""

    module: ModuleType
    protocol: Protocol
    probe: Callable[[ProbeRequest], Awaitable[ProbeResult]]
    has_port: bool
    raw: bool  # sends packets of its own making
    only_raw: bool = False

    def says(self, label: str) -> str:
        """The part of the docstring behind `Proves:`, `Suggests:`, `Blind to:`, `Privilege:` or `On the wire:`."""
        lines = inspect.cleandoc(self.module.__doc__ or "").splitlines()
        found: list[str] = []
        for line in lines:
            if line.startswith(f"{label}: "):
                found = [line.removeprefix(f"{label}: ")]
            elif found and (not line or line.split(":")[0] in LABELS):
                break
            elif found:
                found.append(line.strip())
        return " ".join(found)


LABELS = ("Proves", "Suggests", "Blind to", "Privilege", "On the wire")
KINDS: dict[str, Kind] = {
    "tcp": Kind(tcp, Protocol.TCP, tcp.probe, has_port=True, raw=True),
    "udp": Kind(udp, Protocol.UDP, udp.probe, has_port=True, raw=True),
    "icmp": Kind(icmp, Protocol.ICMP, icmp.probe, has_port=False, raw=True, only_raw=True),
    "dns": Kind(dns, Protocol.UDP, dns.probe, has_port=False, raw=False),
    "tls": Kind(tls, Protocol.TCP, tls.probe, has_port=True, raw=False),
}


def can_run(kind: str) -> tuple[str, ...]:
    """Why a kind cannot do all it could here; empty when it can."""
    if kind not in KINDS:
        return (f"there is no probe kind '{kind}'",)
    if not KINDS[kind].raw:
        return ()
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0).close()
    except PermissionError:
        without = "it cannot run" if KINDS[kind].only_raw else "it uses connect only"
        return (f"this process lacks CAP_NET_RAW: {without}",)
    except OSError as error:
        return (f"no packet socket: {error.strerror or error}",)
    return ()


async def run(kind: str, ask: ProbeRequest) -> ProbeResult:
    """One probe once, its name resolved first. Never raises for what the network does; a crash is an error too."""
    entry = KINDS[kind]
    if ask.name and kind != "dns":
        addresses, why = await resolve(ask.name)
        if not addresses:
            return failed(ask, entry.protocol, kind, Reason.RESOLVE_FAILED, why)
        ask = ProbeRequest(ask.host, ask.port, ask.server, addresses, ask.copies)
    try:
        return await entry.probe(ask)
    except Exception as error:  # noqa: BLE001 - a probe that crashes is an observation that says so
        return failed(ask, entry.protocol, kind, Reason.LOCAL_ERROR, f"{type(error).__name__}: {error}")
