"""What a witness saw of cells one by one, and how it is reported: as runs of ports, and as flows without a token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from probes.packets.mangling import Look
from probes.packets.token import CELL_COPIES
from probes.packets.token_index import CellId
from reachability.arrival import ArrivalRow, Untokened
from reachability.observation import Target
from reachability.ports import PortSet

MOST_TIMES = 4000
SMALL = 3  # packets: a flow of fewer cannot be the source's in a challenge

Peer = tuple[str, int]  # address, port (the identifier for ICMP)


@dataclass(slots=True)
class Seen:
    """Copies that arrived at one cell. `copies` is a bit mask of their numbers: a bridge shows a packet twice."""

    came_from: str
    hops: int
    look: Look
    copies: int = 0
    answered: bool = False
    peers: list[Peer] = field(default_factory=list)  # that the host may still answer


@dataclass(slots=True)
class Flow:
    """Packets without a token of one source address and port to one cell."""

    interface: str  # a bridge shows a packet again on another one
    count: int = 0
    answered: bool = False
    times_ms: list[int] = field(default_factory=list)


def seen_rows(cells: Mapping[tuple[int, int], Seen], targets: Mapping[int, Target]) -> tuple[ArrivalRow, ...]:
    """Runs of ports at which the same was seen; the keys are (target id, port)."""
    runs: dict[tuple[int, int, bool, str, int, Look], tuple[int, int, list[int]]] = {}
    for (target, port), seen in cells.items():
        copies = seen.copies & ((1 << CELL_COPIES) - 1)  # the others are the cell's use as a control
        key = (target, max(1, copies.bit_count()), seen.answered, seen.came_from, seen.hops, seen.look)
        first, last, ports = runs.get(key, (CELL_COPIES, 0, []))
        ports.append(port)
        lowest = (copies & -copies).bit_length() - 1 if copies else CELL_COPIES
        runs[key] = (min(first, lowest), max(last, copies.bit_length() - 1), ports)
    return tuple(
        ArrivalRow(
            target=target,
            address=targets[target].address,
            protocol=targets[target].protocol,
            ports=PortSet.of(ports).compact(),
            copies=copies,
            last_copy=last,
            first_copy=first if first < CELL_COPIES else None,
            answered=answered,
            came_from=came_from,
            hops=distance,
            dscp=came.dscp,
            mss=came.mss,
            altered=came.altered,
        )
        for (target, copies, answered, came_from, distance, came), (first, last, ports) in runs.items()
    )


def strange_rows(flows: Mapping[tuple[CellId, Peer], Flow], *, fold: bool) -> list[Untokened]:
    """A row a flow; `fold`: the small ones of an address to a cell are one."""
    small: dict[tuple[CellId, str, bool], list[Flow]] = {}
    rows = []
    for (cell, (source, port)), flow in flows.items():
        if fold and flow.count < SMALL:
            small.setdefault((cell, source, flow.answered), []).append(flow)
        else:
            rows.append(_untokened(cell, source, port, [flow]))
    return rows + [_untokened(cell, source, 0, some) for (cell, source, _), some in small.items()]


def _untokened(cell: CellId, source: str, port: int, flows: Sequence[Flow]) -> Untokened:
    return Untokened(
        address=cell.address,
        protocol=cell.protocol,
        port=cell.port,
        came_from=source,
        source_port=port,
        count=sum(flow.count for flow in flows),
        answered=any(flow.answered for flow in flows),
        times_ms=tuple(sorted(at for flow in flows for at in flow.times_ms)[:MOST_TIMES]),
        flows=len(flows),
        largest=max(flow.count for flow in flows),
    )
