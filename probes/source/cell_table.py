"""The cells of a job, one by one: their source ports, what left for them and what came back."""

from __future__ import annotations

from collections.abc import Iterator

from probes.context import Station
from probes.packets.parse import ICMP, ICMP6, TCP, UDP, Packet, hops
from probes.packets.port_arrays import may_answer, sources_for
from probes.packets.retained import CellAt, Kept
from probes.packets.token import CELL_COPIES
from probes.source.cell import CLOSED, OPEN, SILENT, Cell
from reachability.distance import Distances
from reachability.vocabulary import PacketRole, Protocol

_PROTOCOLS = {TCP: Protocol.TCP, UDP: Protocol.UDP, ICMP: Protocol.ICMP, ICMP6: Protocol.ICMP}


class Cells:
    """The handler of the job's source ports. Iterating yields the cells."""

    def __init__(self, station: Station, key: bytes, kept: Kept, distances: Distances) -> None:
        """`distances` is filled."""
        self._station, self._key, self._kept, self._distances = station, key, kept, distances
        self._cells: dict[tuple[str, str, Protocol, int], Cell] = {}  # source address, address, protocol, port
        self._ports: dict[tuple[str, Protocol, int, tuple[int, int]], int] = {}

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells.values())

    def __len__(self) -> int:
        """How many there are."""
        return len(self._cells)

    def by_kind(self) -> tuple[list[CellAt], ...]:
        """Those that are open, those that answered otherwise, and the silent ones."""
        kinds: tuple[list[CellAt], ...] = ([], [], [])
        for cell in self:
            kind = 0 if cell.level == OPEN else 1 if cell.level > SILENT else 2
            kinds[kind].append((cell.target.id, cell.port))
        return kinds

    def add(self, cell: Cell) -> None:
        """Add a cell."""
        self._cells[cell.source, cell.target.address, cell.target.protocol, cell.port] = cell

    def source_port(self, cell: Cell, copy: int) -> int:
        """The source port of a copy: one for many cells, so that each cell's copies differ in it."""
        within = sources_for(cell.port)
        key = (cell.source, cell.target.protocol, copy, within)
        if key not in self._ports:
            self._ports[key] = self._station.flows.reserve(self, cell.target.protocol, copy, within)
        return self._ports[key]

    def left(self, copy: int, packet: Packet) -> None:
        """Its own capture saw a copy go out."""
        if copy < CELL_COPIES:
            cell = self._cell(packet.source, packet.destination, packet.protocol, packet.dport)
            if cell is not None:
                cell.saw_leave(copy, packet.at)
                self._kept.note(cell.target.id, cell.port, PacketRole.SENT, packet, copy)

    def answered(self, copy: int, packet: Packet) -> None:
        """Something came in to one of our ports."""
        cell = self._cell(packet.destination, packet.source, packet.protocol, packet.sport)
        if cell is None or copy >= len(cell.sent) or (cell.port and not may_answer(cell.port, packet.dport)):
            return
        before = cell.level
        if not cell.answer(self._key, copy, packet):
            return
        if packet.protocol == TCP and before < CLOSED <= cell.level:
            self._station.bound.closed(1)
        self._kept.note(cell.target.id, cell.port, PacketRole.CAME_BACK, packet, copy)
        if cell.level == OPEN:
            self._distances.replied(
                packet.source, hops(packet.ttl), echo=packet.is_echo_reply, tcp=packet.protocol == TCP
            )
        elif packet.protocol == TCP:
            self._distances.reset(packet.source, packet.sport, hops(packet.ttl))

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """An ICMP error quotes a copy of ours."""
        cell = self._cell(quote.source, quote.destination, quote.protocol, quote.dport)
        if cell is not None and copy < CELL_COPIES and cell.refuse(self._key, copy, packet, quote):
            self._kept.note(cell.target.id, cell.port, PacketRole.CAME_BACK, packet, copy)

    def _cell(self, source: str, address: str, number: int, port: int) -> Cell | None:
        protocol = _PROTOCOLS.get(number)
        if protocol is None:
            return None
        return self._cells.get((source, address, protocol, 0 if protocol is Protocol.ICMP else port))
