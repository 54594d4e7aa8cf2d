"""What a witness saw in one round: copies with a token cell by cell, and flows of packets without one."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from enum import Enum, auto
from functools import lru_cache
from ipaddress import ip_network

import numpy as np
from numpy.typing import NDArray

from probes.packets.mangling import Look, look
from probes.packets.parse import Packet, hops
from probes.packets.port_arrays import WINDOWS
from probes.packets.retained import CELL_PACKETS, MOST_HELD, KeptHere
from probes.packets.token import (
    CELL_COPIES,
    CONNECT_COPIES,
    KERNEL_COPY,
    connect_ports,
    inside_key,
    kernel_ports,
    token,
)
from probes.packets.token_index import CellId, Endpoint, Keyring
from probes.witness.arrival_rows import MOST_TIMES, Flow, Peer, Seen, seen_rows, strange_rows
from probes.witness.sweep_arrivals import LEAST_PORTS, SweepArrivals
from reachability.arrival import ArrivalRow, Crowded, Untokened
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.topology import Network, in_networks
from reachability.vocabulary import PacketRole, RoundKind
from wire.messages import Arm

MOST_FLOWS, MOST_OF_CELL = 2000, 16
MOST_CHALLENGED_FLOWS = 65536  # that traffic of others makes in the seconds of a challenge
MOST_SOURCES = 4096
PEERS = 8  # newest copies of a cell that an answer is looked for


class Token(Enum):
    """Whose token a packet carries."""

    SOURCE = auto()
    INSIDE = auto()  # the inside control's
    NONE = auto()


class Watched:
    """A target with a fast look-up of its ports."""

    __slots__ = ("_highs", "_lows", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        ranges = target.ports.ranges
        self._lows = [low for low, _ in ranges]
        self._highs = [high for _, high in ranges]

    def __contains__(self, port: int) -> bool:
        """Whether the port is probed."""
        at = bisect_right(self._lows, port) - 1
        return at >= 0 and port <= self._highs[at]


class Arrivals:
    """The cells of one armed round and what came to them."""

    def __init__(self, arm: Arm, now: float, gateways: frozenset[str]) -> None:
        """`gateways` count as outside, although they are in the environment's networks: they may hide others (NAT)."""
        self.arm = arm
        self.since = now
        self.closed = False
        self.kept = KeptHere(now, MOST_HELD if arm.kind is RoundKind.NORMAL else 0)
        self.came_by: dict[str, int] = {}  # address -> index of the interface by which its first copy came
        self._seen: dict[tuple[int, int], Seen] = {}  # target id, port
        self._late: dict[tuple[int, int], Seen] = {}
        self._flows: dict[tuple[CellId, Peer], Flow] = {}
        self._flows_of: Counter[CellId] = Counter()
        self.crowded: dict[Endpoint, NDArray[np.bool_]] = {}  # by port: more came than was kept
        self._gateways = gateways
        self._networks: tuple[Network, ...] = tuple(ip_network(text, strict=False) for text in arm.networks)
        self._outside: dict[str, bool] = {}
        self.sweeps = {
            target.id: SweepArrivals(target, arm.key, self.kept, _rivals(target, arm.targets), connects=arm.connects)
            for target in arm.targets
            if arm.kind is RoundKind.NORMAL and len(target.ports) >= LEAST_PORTS
        }
        self._targets = {target.id: target for target in arm.targets}
        self._watched: dict[Endpoint, list[Watched]] = {}
        for target in arm.targets:
            self._watched.setdefault(Endpoint(target.address, target.protocol), []).append(Watched(target))
        self._keys = (arm.key, inside_key(arm.key))
        self._ours = Keyring(arm.key)
        self._inside = Keyring(self._keys[1])

    @property
    def endpoints(self) -> set[Endpoint]:
        """What is listened for."""
        return set(self._watched)

    @property
    def has_late(self) -> bool:
        """Whether a copy came to a cell that was reported as not seen."""
        return bool(self._late) or any(sweep.has_late for sweep in self.sweeps.values())

    def listens_for(self, cell: CellId) -> bool:
        """Whether the cell is in the round."""
        return any(cell.port in watched for watched in self._watched.get(cell.endpoint, ()))

    def take(self, cell: CellId, packet: Packet) -> Token:
        """Take a packet to a cell of the round; whose token it carries."""
        local = not self._is_outside(packet.source)
        if local and self._inside.copy_of(cell, packet) is not None:
            return Token.INSIDE
        copy = self._ours.copy_of(cell, packet)
        if copy is None:
            return Token.INSIDE if not local and self._inside.copy_of(cell, packet) is not None else Token.NONE
        came = look(packet, token(self.arm.key, *cell, copy))
        for target in self._probed_by(cell, packet.source):
            if copy < CELL_COPIES or copy == KERNEL_COPY:
                self.kept.arrived((target.id, cell.port), packet, copy if copy < CELL_COPIES else None)
            sweep = self.sweeps.get(target.id)
            if sweep is not None:
                sweep.note(cell.port, copy, packet.source, packet.sport, hops(packet.ttl), came)
                continue
            seen = self._note((target.id, cell.port), packet, came)
            if seen is not None:
                seen.copies |= 1 << copy
                if not seen.answered:
                    seen.peers.append((packet.source, packet.sport or packet.icmp_id))
                    del seen.peers[:-PEERS]
        return Token.SOURCE

    def by_kernel(self, cell: CellId, port: int) -> bool:
        """Whether a packet without a token came from a source port that the round's own kernel packets to the cell take."""
        return any(port in _swept(key) or port in kernel_ports(key, *cell) for key in self._keys)

    def take_untokened(self, cell: CellId, packet: Packet) -> None:
        """Note a packet that carries no token that anybody knows, when it came from outside the environment."""
        if not self._is_outside(packet.source):
            return
        key = (cell, (packet.source, packet.sport or packet.icmp_id))
        flow = self._flows.get(key)
        if flow is None:
            if self._is_full(cell) and not self.by_kernel(cell, packet.sport):
                self.crowded.setdefault(cell.endpoint, np.zeros(65536, bool))[cell.port] = True
                return
            flow = self._flows[key] = Flow(packet.interface)
            self._flows_of[cell] += 1
        if flow.interface != packet.interface:
            return
        flow.count += 1
        if flow.count <= CELL_PACKETS:
            for target in self._probed_by(cell, packet.source):
                self.kept.note(target.id, cell.port, PacketRole.STRANGE, packet, ours=False)
        if self.arm.kind is RoundKind.CHALLENGE and len(flow.times_ms) < MOST_TIMES:
            flow.times_ms.append(int((packet.at - self.since) * 1000))

    def answer(self, cell: CellId, peer: Peer, packet: Packet) -> None:
        """The host sent an answer from a cell to a peer."""
        flow = self._flows.get((cell, peer))
        for watched in self._watched.get(cell.endpoint, ()):
            key = (watched.target.id, cell.port)
            self.kept.answered(key, peer, packet, foreign=flow is not None and not flow.answered)
            sweep = self.sweeps.get(watched.target.id)
            if sweep is not None:
                sweep.answer(cell.port, *peer)
                continue
            seen = self._seen.get(key) or self._late.get(key)
            if seen is not None and peer in seen.peers:
                seen.answered = True
                seen.peers.clear()
        if flow is not None:
            flow.answered = True

    def refusal(self, cell: CellId, peer: Peer, packet: Packet) -> None:
        """An ICMP error went out about what came from a peer: no answer, but part of the exchange."""
        for watched in self._watched.get(cell.endpoint, ()):
            self.kept.answered((watched.target.id, cell.port), peer, packet)

    def rows(self) -> tuple[ArrivalRow, ...]:
        """Runs of ports at which the same was seen."""
        return (*seen_rows(self._seen, self._targets), *self._sweep_rows())

    def late_rows(self) -> tuple[ArrivalRow, ...]:
        """The cells that were reported as not seen and at which a copy came after all; each is given once."""
        rows = (*seen_rows(self._late, self._targets), *self._sweep_rows())
        self._seen |= self._late
        self._late = {}
        return rows

    def untokened(self) -> tuple[Untokened, ...]:
        """The flows without a token; in a challenge the small ones of an address to a cell are one row."""
        rows = strange_rows(self._flows, fold=self.arm.kind is RoundKind.CHALLENGE)
        return (*rows, *(row for sweep in self.sweeps.values() for row in sweep.connectors.rows()))

    def crowded_rows(self) -> tuple[Crowded, ...]:
        """The ports of which not all flows were kept."""
        return tuple(
            Crowded(address=address, protocol=protocol, ports=PortSet.of(map(int, np.flatnonzero(ports[1:]) + 1)))
            for (address, protocol), ports in self.crowded.items()
        )

    def forget_flows(self) -> None:
        """After its report, a round keeps only what corrects it."""
        self._flows, self.crowded = {}, {}
        self._flows_of.clear()
        for sweep in self.sweeps.values():
            sweep.settle()

    def missed_of(self, address: str, peers: Collection[str]) -> frozenset[str]:
        """Those peers that a target at this address is probed from, where not one of its copies came: in the clear, at least."""
        targets = [target for target in self.arm.targets if target.address == address and not self._came(target)]
        any_ = {peer for peer in peers if self._is_outside(peer)}
        return frozenset(
            peer for target in targets for peer in (any_ if not target.source else {target.source} & set(peers))
        )

    def _came(self, target: Target) -> bool:
        sweep = self.sweeps.get(target.id)
        return bool(sweep.seen.any()) if sweep is not None else any(key[0] == target.id for key in self._seen)

    def targets_of(self, cell: CellId) -> list[Target]:
        """The targets that the cell belongs to."""
        return [watched.target for watched in self._watched.get(cell.endpoint, ()) if cell.port in watched]

    def _is_full(self, cell: CellId) -> bool:
        if self.arm.kind is RoundKind.CHALLENGE:
            return len(self._flows) >= MOST_CHALLENGED_FLOWS
        return self._flows_of[cell] >= MOST_OF_CELL or len(self._flows) >= MOST_FLOWS

    def _note(self, key: tuple[int, int], packet: Packet, came: Look) -> Seen | None:
        """Where a copy is noted; None when the report that is out says already that the cell was seen."""
        seen = self._seen.get(key)
        if self.closed:
            if seen is not None:
                return None
            seen = self._late.get(key)
        if seen is None:
            seen = Seen(packet.source, hops(packet.ttl), came)
            (self._late if self.closed else self._seen)[key] = seen
        return seen

    def _probed_by(self, cell: CellId, source: str) -> list[Target]:
        """The targets that a copy belongs to.

        The token does not tell source addresses apart, the packet's may; behind NAT neither does, and then it counts for
        each: a leak must not be missed.
        """
        targets = self.targets_of(cell)
        if len(targets) > 1:
            return [target for target in targets if target.source == source] or targets
        return targets

    def _is_outside(self, source: str) -> bool:
        known = self._outside.get(source)
        if known is None:
            if len(self._outside) >= MOST_SOURCES:
                self._outside.clear()
            known = source in self._gateways or not in_networks(source, self._networks)
            self._outside[source] = known
        return known

    def _sweep_rows(self) -> Iterator[ArrivalRow]:
        for sweep in self.sweeps.values():
            yield from sweep.rows()


@lru_cache(maxsize=64)
def _swept(key: bytes) -> frozenset[int]:
    """All source ports that a sweep by connect may take."""
    return frozenset(
        p for copy in range(CONNECT_COPIES) for window in WINDOWS for p in connect_ports(key, copy, window)
    )


def _rivals(target: Target, targets: Iterable[Target]) -> set[str]:
    """The other source addresses from which the target's address is probed with its protocol."""
    same = {t.source for t in targets if (t.address, t.protocol) == (target.address, target.protocol)}
    return same - {target.source}
