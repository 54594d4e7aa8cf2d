"""The packets of a sweep on their way: what left, by which source port of which copy, and what came back to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from probes import classify
from probes.context import Station
from probes.packets.columns import Columns, split
from probes.packets.parse import ACK, RST, SYN, Packet, hops
from probes.packets.port_arrays import WINDOWS, Mask, Places, hops_of
from probes.packets.raw_socket import NUMBER
from probes.packets.retained import Kept
from probes.packets.rx_ring import Batch
from probes.packets.token import CELL_COPIES
from probes.source.cell import CLOSED, quotes, verify
from probes.sweep.retained import KeptSweep
from probes.sweep.target import Block, Flight
from reachability.distance import Distances
from reachability.topology import family
from reachability.vocabulary import Protocol, Reason, State


class Flights:
    """A reader of the capture, and the handler of the sweep's source ports; what it learns goes into the blocks."""

    def __init__(self, station: Station, key: bytes, blocks: Sequence[Block], kept: Kept, distances: Distances) -> None:
        """`blocks` may grow; `distances` is filled."""
        self._station, self._key, self._blocks, self._distances = station, key, blocks, distances
        self._began = kept.began
        # (source address, copy, window) by the number that `_by_port` has
        self._flights: list[tuple[str, int, int]] = []
        self._by_port = {p: np.full(65536, -1, np.int16) for p in (Protocol.TCP, Protocol.UDP)}
        self._locals: dict[Flight, int] = {}
        self.kept = KeptSweep(kept, self._began, self._locals)

    def source_port(self, block: Block, copy: int, window: int) -> int:
        """One for all cells of a copy, source address and window, so that each cell's copies differ in it."""
        protocol = block.target.protocol
        key = (block.source, protocol, copy, window)
        if key not in self._locals:
            local = self._locals[key] = self._station.flows.reserve(self, protocol, copy, WINDOWS[window])
            self._by_port[protocol][local] = len(self._flights)
            self._flights.append((block.source, copy, window))
        return self._locals[key]

    def begin(self) -> None:
        """Read the capture from now on."""
        if self._station.capture is not None:
            self._station.capture.readers.append(self.read)

    def end(self) -> None:
        """Read no more, and give up the source ports."""
        if self._station.capture is not None and self.read in self._station.capture.readers:
            self._station.capture.readers.remove(self.read)
        self._station.flows.release(self)

    def read(self, batch: Batch) -> Mask:
        """Use up the packets of the sweep's own source ports; whatever is odd is left to be looked at one by one."""
        used = np.zeros(len(batch), bool)
        for columns in split(batch):
            protocol = Protocol.TCP if columns.protocol == NUMBER[Protocol.TCP] else Protocol.UDP
            flights = self._by_port[protocol][np.where(columns.outgoing, columns.sport, columns.dport)]
            mine = flights >= 0
            if mine.any():
                self._read(columns.take(mine), protocol, flights[mine], used)
        return used

    def left(self, copy: int, packet: Packet) -> None:
        """Its own capture saw a packet go out that the ring's reader passed over."""
        found = self._place(packet.destination, packet.protocol, packet.dport, packet.source)
        if found is not None and copy < CELL_COPIES:
            block, place = found
            block.saw_leave(np.array([place], np.int32), copy, np.array([packet.at - self._began]))

    def answered(self, copy: int, packet: Packet) -> None:
        """An answer that the ring's reader passed over."""
        found = self._place(packet.source, packet.protocol, packet.sport, packet.destination)
        if found is None or not found[0].asked(found[1], copy, packet.dport):
            return
        block, place = found
        target, port = block.target, int(block.numbers[place])
        said = verify(self._key, target.address, target.protocol, port, copy, packet)
        if said is not None:
            self.kept.came_alone(block, place, copy, packet, said.state)
            self._took(block, np.array([place], np.int32), said.state, np.array([hops(packet.ttl)], np.int16))

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """An ICMP error quotes a copy of ours."""
        found = self._place(quote.destination, quote.protocol, quote.dport, quote.source)
        if found is None or copy >= CELL_COPIES:
            return
        block, place = found
        target, port = block.target, int(block.numbers[place])
        if not quotes(self._key, target.address, target.protocol, port, copy, quote):
            return
        state, reason = classify.icmp(packet.protocol, packet.icmp_type, packet.icmp_code)
        if state is not State.ERROR:
            self.kept.came_alone(block, place, copy, packet, reason)
            block.refuse(place, copy, reason, packet.source, hops(packet.ttl))

    def _read(self, columns: Columns, protocol: Protocol, flights: NDArray[np.int16], used: Mask) -> None:
        outgoing = columns.outgoing
        far = np.where(outgoing, columns.destination, columns.source)
        ports = np.where(outgoing, columns.dport, columns.sport)
        for block in self._blocks:
            target = block.target
            if target.protocol is not protocol or family(target.address) != columns.family:
                continue
            places = block.place[ports]
            here = (far == block.packed) & (places >= 0)
            for number in np.unique(flights[here]).tolist():
                source, copy, window = self._flights[number]
                if source != block.source:
                    continue
                rows = here & (flights == number) & (block.window[places] == window)
                went = rows & outgoing
                if went.any():
                    used[columns.rows[went]] = True
                    opened = went & columns.opens
                    left = columns.take(opened)
                    block.saw_leave(places[opened], copy, left.at - self._began)
                    self.kept.left(block, left, places[opened], copy)
                came = rows & ~outgoing & columns.to_host & block.has_sent(places, copy)
                if came.any() and block.knows(copy):
                    self._answers(block, columns.take(came), places[came], copy, used)

    def _answers(self, block: Block, columns: Columns, places: Places, copy: int, used: Mask) -> None:
        distance = hops_of(columns.ttl)
        at = columns.at - self._began
        block.rtt(round(max(0.0, float((at - block.when[copy][places]).min())) * 1000, 3))
        if block.target.protocol is Protocol.UDP:
            used[columns.rows] = True
            self.kept.came(block, columns, places, copy, State.OPEN)
            self._took(block, places, State.OPEN, distance)
            return
        expected = block.tokens(copy)[places, :4].copy().view(">u4")[:, 0].astype(np.uint32) + np.uint32(1)
        good = columns.ack == expected
        flags = columns.flags
        reset, opened = good & ((flags & RST) != 0), good & ((flags & (SYN | ACK | RST)) == SYN | ACK)
        used[columns.rows[reset | opened]] = True
        for state, which in ((State.CLOSED, reset), (State.OPEN, opened)):
            if which.any():
                self.kept.came(block, columns.take(which), places[which], copy, state)
                self._took(block, places[which], state, distance[which])

    def _took(self, block: Block, places: Places, state: State, distance: NDArray[np.int16]) -> None:
        tcp = block.target.protocol is Protocol.TCP
        if state is State.OPEN:
            for hops_ in distance[0], distance.min():  # the first, and the nearest
                self._distances.replied(block.target.address, int(hops_), tcp=tcp)
        elif tcp:
            self._distances_differ(block, places, distance)
        if tcp:
            self._station.bound.closed(len(block.silent(places)))
        opened = Reason.SYN_ACK if tcp else Reason.UDP_RESPONSE
        closed = Reason.RESET if tcp else Reason.PORT_UNREACH
        block.took(places, state, opened if state is State.OPEN else closed, distance)

    def _distances_differ(self, block: Block, places: Places, distance: NDArray[np.int16]) -> None:
        """RSTs of ports that had one before, which crossed more routers or fewer."""
        before = block.hops[places]
        differ = (block.level[places] == CLOSED) & (before != distance)
        if differ.any():
            self._distances.differ(block.target.address, int(before[differ].min()), int(distance[differ].min()))

    def _place(self, address: str, number: int, port: int, source: str) -> tuple[Block, int] | None:
        for block in self._blocks:
            target = block.target
            if (target.address, NUMBER[target.protocol], block.source) == (address, number, source):
                place = int(block.place[port])
                if place >= 0:
                    return block, place
        return None
