"""What a witness saw in one round: copies with a token cell by cell, and flows of packets without one."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import ip_network

from probes.packet import Packet, hops
from probes.token import ALL_COPIES, CELL_COPIES, inside_key, token
from reachability.observation import ArrivalRow, NoPortsGroup, Target, Untokened
from reachability.ports import PortSet
from reachability.topology import Network, in_networks
from reachability.vocabulary import Protocol, RoundKind
from wire.messages import Arm

MOST_FLOWS = 2000
MOST_TIMES = 400
FIRST_TOKENS = 12  # most cells need no more; the rest are made when one comes that fits none of these
OURS, INSIDE, NOT_OURS = "ours", "inside", ""
QUIET_S = 0.1

CellId = tuple[str, Protocol, int]  # address, protocol, port (0 for ICMP)


@dataclass(slots=True)
class Seen:
    """Copies that arrived at one cell."""

    came_from: str
    hops: int
    copies: set[int] = field(default_factory=set)
    answered: bool = False
    local: int = 0  # the newest copy's source port


@dataclass(slots=True)
class Flow:
    """Packets without a token of one source address and port to one cell."""

    count: int = 0
    answered: bool = False
    times_ms: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Group:
    """A group of UDP ports of a NoPorts round."""

    target: int
    ports: str
    arrived: int = 0
    moved: int | None = None


class Arrivals:
    """The cells of one armed round and what came to them."""

    def __init__(self, arm: Arm, now: float, outside: frozenset[str]) -> None:
        """`outside`: addresses that count as outside though they are in the environment's networks (gateways: NAT)."""
        self.arm = arm
        self.since = now
        self.seen: dict[CellId, Seen] = {}
        self.flows: dict[tuple[CellId, str, int], Flow] = {}
        self.flows_lost = False
        self._outside = outside
        self._networks: tuple[Network, ...] = tuple(ip_network(text) for text in arm.networks)
        self._targets: dict[tuple[str, Protocol], tuple[Target, PortSet]] = {
            (t.address, t.protocol): (t, PortSet.parse(t.ports)) for t in arm.targets
        }
        self._tokens: dict[tuple[CellId, bool], tuple[int, dict[bytes, int]]] = {}
        self._inside_key = inside_key(arm.key)
        self.groups = [Group(target, ports) for target, ports in arm.groups]
        self._group_of = {
            (group.target, port): index for index, group in enumerate(self.groups) for port in PortSet.parse(group.ports)
        }
        self._group = -1
        self._group_at = 0.0
        self._noports = 0

    @property
    def addresses(self) -> set[tuple[str, Protocol]]:
        """What is listened for."""
        return set(self._targets)

    def take(self, cell: CellId, packet: Packet) -> str:
        """Take a packet to a cell: `ours` with the round's token, `inside` with the inside control's, "" with neither."""
        address, protocol, port = cell
        found = self._targets.get((address, protocol))
        if found is None or not (protocol is Protocol.ICMP or port in found[1]):
            return NOT_OURS
        copy = self._copy(cell, packet, inside=False)
        if copy is not None:
            seen = self.seen.setdefault(cell, Seen(packet.source, hops(packet.ttl)))
            seen.copies.add(copy)
            seen.came_from, seen.local = packet.source, packet.sport or packet.icmp_id
            if self.groups:
                self._count_group(found[0].id, port, packet.at)
            return OURS
        return INSIDE if self._copy(cell, packet, inside=True) is not None else NOT_OURS

    def listens_for(self, cell: CellId) -> bool:
        """Whether the cell is in the round."""
        found = self._targets.get(cell[:2])
        return found is not None and (cell[1] is Protocol.ICMP or cell[2] in found[1])

    def take_untokened(self, cell: CellId, packet: Packet) -> None:
        """Note a packet that carries no token that anybody knows, when it came from outside the environment."""
        if in_networks(packet.source, self._networks) and packet.source not in self._outside:
            return
        key = (cell, packet.source, packet.sport or packet.icmp_id)
        flow = self.flows.get(key)
        if flow is None:
            if len(self.flows) >= MOST_FLOWS:
                self.flows_lost = True
                return
            flow = self.flows[key] = Flow()
        flow.count += 1
        if self.arm.kind is RoundKind.CHALLENGE and len(flow.times_ms) < MOST_TIMES:
            flow.times_ms.append(int((packet.at - self.since) * 1000))

    def answer(self, cell: CellId, to: str) -> None:
        """The host sent an answer from a cell to a peer."""
        seen = self.seen.get(cell)
        if seen is not None and seen.came_from == to:
            seen.answered = True
        for (other, source, _), flow in self.flows.items():
            if other == cell and source == to:
                flow.answered = True

    def tick(self, now: float, noports: int) -> None:
        """NoPorts rounds: when it has been quiet, what the counter moved belongs to the group that came last."""
        if not self.groups:
            return
        if self._group < 0:
            self._noports = noports
        elif now - self._group_at > QUIET_S and self.groups[self._group].moved is None:
            self.groups[self._group].moved = noports - self._noports
            self._noports = noports

    def rows(self) -> tuple[ArrivalRow, ...]:
        """Runs of ports at which the same was seen."""
        runs: dict[tuple[object, ...], list[int]] = {}
        for (address, protocol, port), seen in self.seen.items():
            cells = [copy for copy in seen.copies if copy < CELL_COPIES]
            target = self._targets[address, protocol][0]
            key = (
                target.id, address, protocol, max(1, len(cells)), max(cells, default=0), seen.answered, seen.came_from,
                seen.hops,
            )  # fmt: skip
            runs.setdefault(key, []).append(port)
        return tuple(_row(key, ports) for key, ports in runs.items())

    def untokened(self) -> tuple[Untokened, ...]:
        """The flows without a token."""
        return tuple(
            Untokened(
                address=cell[0], protocol=cell[1], port=cell[2], came_from=source, source_port=port, count=flow.count,
                answered=flow.answered, times_ms=tuple(flow.times_ms),
            )
            for (cell, source, port), flow in self.flows.items()
        )  # fmt: skip

    def group_rows(self) -> tuple[NoPortsGroup, ...]:
        """The groups of which it is known what they moved."""
        return tuple(
            NoPortsGroup(target=g.target, ports=g.ports, arrived=g.arrived, moved=g.moved)
            for g in self.groups
            if g.moved is not None and g.arrived
        )

    def _count_group(self, target: int, port: int, at: float) -> None:
        index = self._group_of.get((target, port))
        if index is not None:
            self._group, self._group_at = index, at
            self.groups[index].arrived += 1

    def _copy(self, cell: CellId, packet: Packet, *, inside: bool) -> int | None:
        """Which copy the packet is, by its sequence number or its timestamp, or by its payload; None: not one of these."""
        made, known = self._tokens.get((cell, inside), (0, {}))
        candidates = (
            (struct.pack("!I", packet.seq) + b"s", struct.pack("!I", packet.ts_val & 0xFFFFFFFF) + b"t")
            if cell[1] is Protocol.TCP
            else (packet.payload[:8],)
        )
        for limit in (FIRST_TOKENS, CELL_COPIES, ALL_COPIES):
            if made < limit:
                key = self._inside_key if inside else self.arm.key
                for copy in range(made, limit):
                    tok = token(key, *cell, copy)
                    if cell[1] is Protocol.TCP:
                        known[tok[:4] + b"s"] = known[tok[4:] + b"t"] = copy
                    else:
                        known[tok] = copy
                made = limit
                self._tokens[cell, inside] = (made, known)
            for candidate in candidates:
                if candidate in known:
                    return known[candidate]
        return None


def _row(key: tuple[object, ...], ports: list[int]) -> ArrivalRow:
    target, address, protocol, copies, last, answered, came_from, distance = key
    return ArrivalRow(
        target=target,  # type: ignore[arg-type]
        address=address,  # type: ignore[arg-type]
        protocol=protocol,  # type: ignore[arg-type]
        ports="" if protocol is Protocol.ICMP else str(PortSet.of(ports)),
        copies=copies,  # type: ignore[arg-type]
        last_copy=last,  # type: ignore[arg-type]
        answered=answered,  # type: ignore[arg-type]
        came_from=came_from,  # type: ignore[arg-type]
        hops=distance,  # type: ignore[arg-type]
    )
