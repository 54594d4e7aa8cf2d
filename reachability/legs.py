"""How many flows try every leg of a path of which traces show several: one that leaks must not be missed by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from reachability.matrix import CellKey
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.verdict import Evidence, judge
from reachability.vocabulary import Arrival, Protocol, RoundKind, Schedule, Unproven

MISSED = 0.01  # the chance that no flow of a cell takes the one leg that leaks
MOST_FLOWS = 48  # of a cell
MOST_PACKETS, MOST_OF_A_RUN = (
    5000,
    20_000,
)  # of a round, for that alone: of many cells each has fewer flows; a verify run may take longer
LEAST_SPARE, SPARE = (
    2,
    0.25,
)  # further copies, and their share: those that leave behind the last good control do not count

Cells = Sequence[tuple[CellKey, Target, PortSet, Evidence]]


def flows_needed(legs: int, loss: float) -> int:
    """Flows of which, at a chance of 99%, one gets through the one of so many legs that leaks; 48 at most."""
    share = (1.0 - loss) / legs
    if share >= 1.0:
        return 1
    return MOST_FLOWS if share <= 0.0 else min(MOST_FLOWS, math.ceil(math.log(MISSED) / math.log(1.0 - share)))


def with_legs(cells: Cells, rounds: Sequence[RoundData]) -> tuple[list[tuple[CellKey, Target, PortSet, Evidence]], int]:
    """What would be green, over fewer flows than the legs of its path ask for, waits for more of them: how many, too (0: none).

    Of a cycle alone: a sweep says over how many flows it holds. Once they were sent, the proof says how many there were.
    """
    main = rounds[0]
    legs = main.source.legs if main.source is not None and main.spec.schedule is Schedule.CYCLE else {}
    again = sum(data.spec.kind is RoundKind.NORMAL for data in rounds) > 1
    lacking = {n: short for n, cell in enumerate(cells) if (short := _lacks(cell, legs.get(cell[0].address, 1)))}
    if not lacking or again:
        return list(cells), 0
    ports = sum(len(cells[n][2]) for n in lacking)
    most = max(lacking.values())
    more = min(most + max(LEAST_SPARE, int(most * SPARE)), (MOST_OF_A_RUN if main.spec.run else MOST_PACKETS) // ports)
    marked = [
        (key, target, ports, replace(e, problem=e.problem or Unproven.LEGS) if n in lacking else e)
        for n, (key, target, ports, e) in enumerate(cells)
    ]
    return (marked, more) if more else (list(cells), 0)


def _lacks(cell: tuple[CellKey, Target, PortSet, Evidence], legs: int) -> int:
    """How many flows a cell lacks; an echo has no ports that a router could tell flows by."""
    key, _, _, e = cell
    if legs <= 1 or key.protocol is Protocol.ICMP or e.arrival is Arrival.SEEN:
        return 0
    silent = replace(e, problem="") if e.problem == Unproven.SPREAD else e
    return max(0, flows_needed(legs, e.loss or 0.0) - min(e.flows, e.covered)) if judge(silent).green else 0
