"""What the source's side of a sweep keeps of its packets: those of `probes.sweep.target`'s samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from probes.packets.columns import Columns
from probes.packets.parse import Packet
from probes.packets.port_arrays import Places
from probes.packets.retained import CELL_PACKETS, CellAt, Kept, SendTimes
from probes.source.cell import CLOSED, OPEN, REFUSED, SILENT
from probes.sweep.target import Block, Flight
from reachability.observation import KeptPacket
from reachability.vocabulary import PacketRole, Reason, State


class KeptSweep:
    """Fills a `Kept`. `began`: what the blocks' times count from; `locals_`: the source port of each flight."""

    def __init__(self, kept: Kept, began: float, locals_: Mapping[Flight, int]) -> None:
        self._kept = kept
        self._began = began
        self._locals = locals_
        self._send_times = SendTimes()

    def left(self, block: Block, columns: Columns, places: Places, copy: int) -> None:
        """Keep what leaves from places that are kept; and for a while when each left, as others may answer."""
        self._send_times.add(block, copy, places, columns.at)
        some = np.flatnonzero(block.sample.taken[places])
        if len(some):
            ports = block.numbers[places[some]].tolist()
            self._kept.rows(columns.batch, columns.rows[some], block.target.id, ports, PacketRole.SENT, copy)

    def came(self, block: Block, columns: Columns, places: Places, copy: int, state: State) -> None:
        """Keep some of what came back."""
        some = block.sample.pick(places, state)
        if len(some):
            self._build(block, places[some].tolist(), copy)
            ports = block.numbers[places[some]].tolist()
            self._kept.rows(columns.batch, columns.rows[some], block.target.id, ports, PacketRole.CAME_BACK, copy)

    def came_alone(self, block: Block, place: int, copy: int, packet: Packet, kind: State | Reason) -> None:
        """The same of what was read by itself."""
        if len(block.sample.pick(np.array([place], np.int32), kind)):
            self._build(block, [place], copy)
            self._kept.note(block.target.id, int(block.numbers[place]), PacketRole.CAME_BACK, packet, copy)

    def take(self, blocks: Iterable[Block]) -> tuple[KeptPacket, ...]:
        """For the report: of what was open, of what answered otherwise, and of what was silent."""
        by_target = {block.target.id: block for block in blocks}
        kinds: dict[int, list[CellAt]] = {OPEN: [], CLOSED: [], REFUSED: [], SILENT: []}
        for block in by_target.values():
            for place in block.sample.places.tolist():
                kinds[int(block.level[place])].append((block.target.id, int(block.numbers[place])))
        cells = self._kept.choose(*kinds.values())
        for target, port in cells:
            block = by_target[target]
            for copy in block.copies_left(int(block.place[port]))[:CELL_PACKETS]:
                self._build(block, [int(block.place[port])], copy)
        return self._kept.take(cells)

    def _build(self, block: Block, places: Iterable[int], copy: int) -> None:
        """A copy that left before its place was kept is built once more: it is what was handed over, and seen to leave."""
        for place in places:
            at = self._send_times.find(block, copy, place) or self._began + float(block.when[copy][place])
            port, local = int(block.numbers[place]), self._locals[block.flight(copy, place)]
            data, interface = block.frame(port, copy, local), block.routes[0].interface
            self._kept.add(block.target.id, port, PacketRole.SENT, at=at, data=data, interface=interface, copy=copy)
