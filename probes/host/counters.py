"""What the kernel's tables of this network namespace say: sockets, and counters of what was lost or refused."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from probes.host import deliveries, netlink
from probes.host.deliveries import Deliveries, pairs
from probes.host.listening import PROC_NET, Bound, read_bound
from reachability.ports import PortSet
from reachability.vocabulary import Protocol

_REFUSALS = ("ListenOverflows", "ListenDrops", "IPReversePathFilter")
_AUTHENTICATION = ("TCPMD5", "TCPAO")  # TCPMD5NotFound, …Unexpected, …Failure; TCPAO likewise, but for TCPAOGood
_IFNAME, _STATS64, _CARRIER_CHANGES = 3, 23, 35  # IFLA_…
_LOOPBACK = 0x08
_CARRIER = "carrier changes"  # a link that went down meanwhile
# Places in struct rtnl_link_stats64. Not rx_dropped (6): the kernel counts frames there that nobody here speaks (LLDP, STP,
# foreign VLANs), after the capture saw them. Not rx_errors (4), CRC and frame errors: they hit at random on the wire, which
# copies and the measured loss cover; an overrun takes whole bursts, all copies together.
_LOSSES = {"rx_over_errors": 11, "rx_fifo_errors": 14, "rx_missed_errors": 15}


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One reading. Counters only ever grow: two readings compared say what happened between them."""

    bound: Bound = field(default_factory=Bound)
    deliveries: Mapping[int, Deliveries] = field(default_factory=dict)  # by address family
    forwards: frozenset[int] = frozenset()  # families in which packets are handed on to others
    drops: int = 0  # ListenOverflows, ListenDrops, reverse-path and MD5 counters together
    lost: Mapping[str, int] = field(default_factory=dict)  # by name: packets that no capture can have seen

    def ports(self, protocol: Protocol, address: str) -> PortSet:
        """Ports at which a socket would get a packet to this address."""
        return self.bound.ports(address, protocol)

    def down_since(self, before: HostFacts, used: AbstractSet[str] = frozenset()) -> str:
        """Which links went down since an earlier reading, in words; "" for none: what came meanwhile is not known.

        `used`: the interfaces that packets came in by. That another one went down (a container's, say) lost nothing.
        """
        moved = self._moved(before).items()
        return ", ".join(f"{name} +{by}" for name, by in moved if by and _CARRIER in name and name.split()[0] in used)

    def missed_since(self, before: HostFacts) -> int:
        """Packets that were lost before any capture since then: of this host at most, for some counters are the machine's."""
        return sum(max(0, by) for name, by in self._moved(before).items() if _CARRIER not in name)

    def _moved(self, before: HostFacts) -> dict[str, int]:
        return {name: value - before.lost[name] for name, value in self.lost.items() if name in before.lost}


def read() -> HostFacts:
    """Read the tables; one that is not there counts as empty."""
    drops = sum(
        value
        for name, value in pairs(_text("netstat")).items()
        if name.startswith("TcpExt.") and _is_refusal(name.removeprefix("TcpExt."))
    )
    lost = {"softnet dropped": softnet(_text("softnet_stat"))}
    with contextlib.suppress(OSError):
        lost |= _interfaces()
    return HostFacts(read_bound(), deliveries.read(), deliveries.forwards(), drops, lost)


def softnet(text: str) -> int:
    """Packets that found the backlog full, over all processors of the machine: the second column, in hex."""
    return sum(int(line.split()[1], 16) for line in text.splitlines())


def interface_losses(link: bytes) -> dict[str, int]:
    """The counters of loss in an RTM_NEWLINK message, by name; none for a loopback."""
    if netlink.values("=I", link, 8)[0] & _LOOPBACK:
        return {}
    found = dict(netlink.attributes(link, 16))
    name = found.get(_IFNAME, b"?").rstrip(b"\0").decode("ascii", "replace")
    losses = {}
    stats = found.get(_STATS64, b"")
    for counter, place in _LOSSES.items():
        if len(stats) >= 8 * place + 8:
            losses[f"{name} {counter}"] = netlink.values("=Q", stats, 8 * place)[0]
    if carrier := found.get(_CARRIER_CHANGES):
        losses[f"{name} {_CARRIER}"] = netlink.values("=I", carrier)[0]
    return losses


def _interfaces() -> dict[str, int]:
    links = netlink.dump(netlink.NETLINK_ROUTE, netlink.RTM_GETLINK, bytes(16))
    return {name: value for link in links for name, value in interface_losses(link).items()}


def _is_refusal(name: str) -> bool:
    return name in _REFUSALS or (name.startswith(_AUTHENTICATION) and name != "TCPAOGood")


def _text(name: str, folder: Path = PROC_NET) -> str:
    with contextlib.suppress(OSError):
        return (folder / name).read_text("ascii", "replace")
    return ""
