"""Another host that holds an address too (anycast, a director): what it gets never reaches the witness on the first.

Its silence looks like a firewall's. It is known by what no proxy of one port gives: an echo, or a RST or port-unreach from as
far away as the host, of which the host's healthy witness saw nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reachability.distance import DIRECT, Closer, closer
from reachability.matrix import CellKey
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.verdict import Evidence
from reachability.vocabulary import Arrival, Protocol, State, Unproven

Cells = list[tuple[CellKey, Target, PortSet, Evidence]]


def with_another_holder(cells: Cells) -> Cells:
    """What is silent at such an address is unknown, unless anything of this source was seen to arrive at the witness."""
    held = _places(cells, _of_another) - _places(cells, _arrived)
    if not held:
        return cells
    return [
        (key, target, ports, replace(e, problem=e.problem or Unproven.ANSWERED_ELSEWHERE))
        if (key.source_address, key.address) in held and _silent(e)
        else (key, target, ports, e)
        for key, target, ports, e in cells
    ]


def _places(cells: Cells, which: Callable[[Evidence], bool]) -> set[tuple[str, str]]:
    return {(key.source_address, key.address) for key, _, _, e in cells if which(e)}


def _arrived(e: Evidence) -> bool:
    return e.arrival is Arrival.SEEN


def _silent(e: Evidence) -> bool:
    """Not what the path refused: that has stopped it before any host."""
    return (
        e.arrival is Arrival.NOT_SEEN
        and e.state in {State.FILTERED, State.OPEN_FILTERED}
        and not e.prohibited >= e.sent > 0
    )


def _of_another(e: Evidence) -> bool:
    if e.arrival is not Arrival.NOT_SEEN or (e.hops == 0 and not e.via.endswith(DIRECT)):
        return False
    if e.protocol is Protocol.ICMP:
        return e.state is State.OPEN
    return e.state is State.CLOSED and closer(e.hops, e.host_hops, e.via) is Closer.AS_FAR_AS_THE_HOST
