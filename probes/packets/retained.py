"""The packets that a round's report keeps: as the capture saw them, cut short, and never more than there is room for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from probes.packets.parse import TCP, Packet
from probes.packets.rx_ring import Batch, name_of
from reachability.observation import KeptPacket
from reachability.vocabulary import PacketRole

MOST_BYTES = 128
MOST_HELD = 32_768  # packets of one kind, of a round at one side: while it runs
MOST_CELLS = 512  # in a report, of one kind
CELL_PACKETS = 6  # of one kind: the first five and the newest
SPREAD, OTHERS = (
    16,
    64,
)  # of a target in a sweep: places that are kept whatever they show, and others that show something

MOST_AWAITED = 4096  # cells
BATCHES = 16  # of a sweep's packets, of which the times are kept

CellAt = tuple[int, int]  # target id, port
Peer = tuple[str, int]  # address, port (the identifier for ICMP)
T = TypeVar("T")


class Kept:
    """The packets of one round at one side, by cell. `began`: monotonic seconds that their times count from."""

    def __init__(self, began: float, most: int = MOST_HELD) -> None:
        """`most`: packets of one kind."""
        self.began = began
        self._most = most
        self._cells: dict[CellAt, dict[PacketRole, list[KeptPacket]]] = {}
        self._held = dict.fromkeys(PacketRole, 0)

    def note(
        self, target: int, port: int, what: PacketRole, packet: Packet, copy: int | None = None, *, ours: bool = True
    ) -> None:
        """Keep a packet; of one that may be somebody else's nothing but its headers."""
        if not packet.raw:
            return
        data = packet.raw if ours else packet.raw[: _headers(packet)]
        self.add(target, port, what, at=packet.at, data=data, interface=packet.interface, copy=copy)

    def rows(
        self,
        batch: Batch,
        rows: NDArray[np.intp],
        target: int,
        ports: Sequence[int],
        what: PacketRole,
        copy: int | None,
    ) -> None:
        """Keep some rows of a batch, each of the port beside it."""
        for row, port in zip(rows.tolist(), ports, strict=True):
            data = batch.data[row, : min(MOST_BYTES, int(batch.length[row]))].tobytes()
            interface = name_of(int(batch.interface[row]))
            self.add(target, int(port), what, at=float(batch.at[row]), data=data, interface=interface, copy=copy)

    def add(
        self, target: int, port: int, what: PacketRole, *, at: float, data: bytes, interface: str, copy: int | None
    ) -> None:
        """Keep bytes from layer 3 on."""
        if self._held[what] >= self._most:
            return
        held = self._cells.setdefault((target, port), {}).setdefault(what, [])
        data = data[:MOST_BYTES]
        if any(kept.data == data and kept.copy == copy for kept in held):
            return  # a bridge shows a packet again
        kept = KeptPacket(
            target=target, port=port, what=what, at_ms=round((at - self.began) * 1000, 3), data=data, copy=copy,
            interface=interface,
        )  # fmt: skip
        if len(held) >= CELL_PACKETS:
            held[-1] = kept
        else:
            held.append(kept)
            self._held[what] += 1

    def choose(self, *kinds: Iterable[CellAt]) -> list[CellAt]:
        """Some cells of each kind."""
        return list(dict.fromkeys(cell for kind in kinds for cell in spread(list(kind), MOST_CELLS)))

    def take(self, cells: Iterable[CellAt]) -> tuple[KeptPacket, ...]:
        """The packets of these cells. All others are forgotten."""
        found = [p for cell in cells for packets in self._cells.get(cell, {}).values() for p in packets]
        self._cells, self._held = {}, dict.fromkeys(PacketRole, 0)
        return tuple(found)

    def take_some(self) -> tuple[KeptPacket, ...]:
        """The packets of some of all cells, and what shows that the capture works."""
        works = [cell for cell, held in self._cells.items() if PacketRole.INSTEAD in held]
        return self.take(self.choose(works, self._cells))


class KeptHere(Kept):
    """The same at the witness, where an answer belongs to the copy that came from where it goes to."""

    def __init__(self, began: float, most: int = MOST_HELD) -> None:
        super().__init__(began, most)
        self._awaited: dict[CellAt, dict[Peer, int | None]] = {}

    def arrived(self, cell: CellAt, packet: Packet, copy: int | None) -> None:
        """Keep a packet with a token."""
        self.note(*cell, PacketRole.ARRIVED, packet, copy)
        if len(self._awaited) < MOST_AWAITED:
            awaited = self._awaited.setdefault(cell, {})
            awaited[packet.source, packet.sport or packet.icmp_id] = copy
            if len(awaited) > CELL_PACKETS:
                del awaited[next(iter(awaited))]

    def answered(self, cell: CellAt, peer: Peer, packet: Packet, *, foreign: bool = False) -> None:
        """Keep what goes to where a packet that is kept came from; `foreign`: from where one without a token came."""
        awaited = self._awaited.get(cell, {})
        if peer in awaited or foreign:
            self.note(*cell, PacketRole.ANSWERED, packet, awaited.get(peer), ours=not foreign)

    def take(self, cells: Iterable[CellAt]) -> tuple[KeptPacket, ...]:
        """As `Kept.take`."""
        self._awaited = {}
        return super().take(cells)


class SendTimes:
    """When packets left, for as long as an answer may take: places and times, some batches of them."""

    def __init__(self) -> None:
        self._batches: deque[tuple[object, int, NDArray[np.int32], NDArray[np.float64]]] = deque(maxlen=BATCHES)

    def add(self, target: object, copy: int, places: NDArray[np.int32], at: NDArray[np.float64]) -> None:
        """These left."""
        self._batches.append((target, copy, places, at))

    def find(self, target: object, copy: int, place: int) -> float | None:
        """When a copy left; None when that was long ago."""
        for mine, number, places, at in reversed(self._batches):
            if mine is target and number == copy and len(found := np.flatnonzero(places == place)):
                return float(at[found[0]])
        return None


class Sample:
    """Which places of a sweep's target are kept: some that lie evenly over it, and the first others that show something."""

    def __init__(self, places: int, others: int = OTHERS) -> None:
        self._others = others
        self.taken = np.zeros(places, bool)
        self.taken[np.linspace(0, places - 1, min(places, SPREAD)).astype(np.intp)] = True
        self._room: dict[object, int] = {}

    def pick(self, places: NDArray[np.int32], kind: object = None) -> NDArray[np.intp]:
        """Which of these to keep: indices. `kind`: each has a room of its own."""
        room = self._room.get(kind, self._others)
        if room:
            others = np.unique(places[~self.taken[places]])[:room]
            self._room[kind] = room - len(others)
            self.taken[others] = True
        return np.flatnonzero(self.taken[places])

    @property
    def places(self) -> NDArray[np.intp]:
        """All of them, in order."""
        return np.flatnonzero(self.taken)


def spread(cells: Sequence[T], most: int) -> Sequence[T]:
    """All of them, or this many that lie evenly over them."""
    return cells if len(cells) <= most else [cells[index * len(cells) // most] for index in range(most)]


def _headers(packet: Packet) -> int:
    """How long the headers are of a packet that is not ours: what its owner says is nobody's business."""
    data, start = packet.raw, packet.start
    if packet.protocol == TCP and len(data) > start + 12:  # where the length of its header is
        return start + (data[start + 12] >> 4) * 4
    return start + 8
