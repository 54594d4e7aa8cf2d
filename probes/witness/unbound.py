"""Datagrams that came to ports of this host without a socket, from other hosts and from itself: what NoPorts should count."""

from __future__ import annotations

import numpy as np

from probes.host.listening import Bound
from probes.packets.columns import Columns
from probes.packets.parse import UDP, Packet
from probes.packets.port_arrays import Mask
from reachability.vocabulary import Protocol


class Unbound:
    """Counts them by address family, over all addresses. What the host's firewall drops is among them, and not in NoPorts."""

    def __init__(self) -> None:
        self.bound = Bound()  # which sockets there are, as far as it is known
        self.counts = {4: 0, 6: 0}

    def take(self, packet: Packet) -> None:
        """Take a packet that came in; one that a bridge shows twice is to be given once."""
        if packet.protocol == UDP and not self.bound.reaches(packet.destination, Protocol.UDP, packet.dport):
            self.counts[packet.family] += 1

    def take_columns(self, address: str, columns: Columns, once: Mask) -> None:
        """Take many datagrams to an address; `once`: those that a bridge does not show again."""
        bound = np.array([self.bound.reaches(address, Protocol.UDP, port) for port in columns.dport.tolist()], bool)
        self.counts[columns.family] += int(np.count_nonzero(once & ~bound))
