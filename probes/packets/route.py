"""One way out of this host: what a packet needs to be sent by it."""

from __future__ import annotations

from dataclasses import dataclass

from probes.packets.parse import IPV4, IPV6


@dataclass(frozen=True, slots=True)
class Route:
    """One way out. `link` is the next hop's link address, b"" on devices that have none."""

    interface: str
    next_hop: str  # "" when the destination itself is on the link
    source: str
    link: bytes
    local: bool = False  # the destination is this host

    @property
    def via(self) -> str:
        """As observations name it: "eth0 10.10.0.1" or "eth0 direct"."""
        return f"{self.interface} {self.next_hop or 'direct'}"


def ethertype_of(address: str) -> int:
    """The ethertype of the address's family."""
    return IPV6 if ":" in address else IPV4
