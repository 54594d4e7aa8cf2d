"""How much loss the network may have, and how many copies rule out that loss hides an open port."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reachability.arrival import WitnessReport
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.vocabulary import Protocol, RoundKind, State

Z_ONE_SIDED_95 = 1.645
LEAST_LOSS = 0.001
MOST_MISSED = 0.01  # expected number of open ports of a pair that loss may have hidden
MOST_COPIES = 64
LEAST_PPS = 1000
_STOPS = {State.OPEN, State.CLOSED}  # what is not tried any further once it is known


class Counted(NamedTuple):
    """Packets that tell of loss, and how many of them were lost."""

    sent: int
    lost: int


class Endpoint(NamedTuple):
    """Whose loss it is: another host has a path of its own, another protocol a policer."""

    address: str
    protocol: Protocol


def total(counted: Iterable[Counted]) -> Counted:
    """All of them together."""
    return Counted(*map(sum, zip(Counted(0, 0), *counted, strict=True)))


def upper_bound(sent: int, lost: int) -> float | None:
    """One-sided 95% upper bound (Wilson score) of the loss ratio, at least 0.1%; None when nothing was measured."""
    if sent <= 0:
        return None
    lost = min(max(lost, 0), sent)
    ratio, z2 = lost / sent, Z_ONE_SIDED_95**2
    centre = ratio + z2 / (2 * sent)
    spread = Z_ONE_SIDED_95 * math.sqrt(ratio * (1 - ratio) / sent + z2 / (4 * sent * sent))
    return min(1.0, max(LEAST_LOSS, (centre + spread) / (1 + z2 / sent)))


def lower_bound(sent: int, lost: int) -> float:
    """The same from below; 0.0 when nothing was measured."""
    bound = upper_bound(sent, sent - min(max(lost, 0), sent))
    return 0.0 if bound is None else max(0.0, 1 - bound)


def worst(groups: Iterable[tuple[int, int]], others: Iterable[tuple[int, int]] = ()) -> float | None:
    """Upper bound of the loss over groups of packets (sent, lost) of the same time; None when nothing was measured.

    All together count, unless a group clearly loses more than the rest: what goes elsewhere does not speak for the pair.
    `others` count with the rest alone, however much they lose: they are of another protocol.
    """
    measured = [Counted(sent, min(max(lost, 0), sent)) for sent, lost in groups if sent > 0]
    besides = [Counted(sent, min(max(lost, 0), sent)) for sent, lost in others if sent > 0]
    sent, lost = map(sum, zip(Counted(0, 0), *measured, *besides, strict=True))
    bounds = [upper_bound(sent, lost)]
    for mine, gone in measured:
        rest = upper_bound(sent - mine, lost - gone)
        if rest is not None and lower_bound(mine, gone) > rest:
            bounds.append(upper_bound(mine, gone))
    return max((bound for bound in bounds if bound is not None), default=None)


def copies_needed(cells: int, loss: float) -> int | None:
    """Copies per cell, so that of `cells` that may answer fewer than 0.01 are missed by loss; None: more than 64.

    With q = loss^copies, cells · q / (1 - q) < 0.01. All that are tried count, which is at least one more than were found open:
    each of the others could have been missed as well.
    """
    if cells <= 0:
        return 1
    if loss >= 1:
        return None
    copies = max(1, math.ceil(math.log(MOST_MISSED / (cells + MOST_MISSED)) / math.log(loss)))
    return copies if copies <= MOST_COPIES else None


def missed_before_capture(rounds: Sequence[RoundData]) -> float:
    """How much of what came to a witness's host its kernel may have thrown away first: copies among it.

    Neither the capture nor the host's own stack had them, so that no answer comes from one that was missed. The counters may
    be the machine's, and the packets other hosts': all of them are set against the few that this one is known to have had.
    """
    return max((_share(d.witnesses, agent) for d in rounds for agent in {w.agent for w in d.witnesses}), default=0.0)


def _share(witnesses: Sequence[WitnessReport], agent: str) -> float:
    mine = [w for w in witnesses if w.agent == agent]
    lost = max((h.missed for w in mine for h in w.health), default=0)
    had = max(sum(h.off_host for w in mine for h in w.health), sum(row.copies for w in mine for row in w.arrivals))
    return (upper_bound(had + lost, lost) or 0.0) if lost > 0 else 0.0


def partial(rounds: Sequence[RoundData]) -> dict[Endpoint, Counted]:
    """How the way to each host loses packets, by the ports of which some copies arrived: copies that tell of it.

    A port of which none arrived is left out, for it may be shut; what is counted is chosen so that leaving it out does
    not make the loss look small (see `_told`). Copies that count for nothing (sent too fast, or into a ban) are not in it.
    """
    found: dict[Endpoint, Counted] = {}
    for data in rounds:
        if data.source is None or data.spec.kind is not RoundKind.NORMAL:
            continue
        rows = [row for w in data.witnesses if not w.late for row in w.arrivals]  # a late copy is not a lost one
        arrived = _by_target((row.target, row.copies, row.ports) for row in rows)
        stopped = [o for o in data.source.observations if o.state in _STOPS]
        silent = [o for o in data.source.observations if o.state not in _STOPS]
        for among, stops in (stopped, True), (silent, False):
            tried = _by_target((o.target, o.covered or o.sent, o.ports) for o in among)
            for target in data.spec.targets:
                most = max((o.covered or o.sent for o in data.source.observations if o.target == target.id), default=0)
                key = Endpoint(target.address, target.protocol)
                for copies, ports in arrived.get(target.id, {}).items():
                    for sent, sent_to in tried.get(target.id, {}).items():
                        tells, lost = _told(sent, min(copies, sent), most, stops=stops)
                        shared, so_far = len(ports & sent_to), found.get(key, Counted(0, 0))
                        found[key] = Counted(so_far.sent + shared * tells, so_far.lost + shared * lost)
    return {key: Counted(max(sent, lost), lost) for key, (sent, lost) in found.items() if sent or lost}


def _told(sent: int, arrived: int, most: int, *, stops: bool) -> Counted:
    """What a port of which some copies arrived tells of the loss, given that it would not be known had all been lost.

    A port that is tried until it answers (`stops`), `most` times at most, has its one arrival last. Over such ports the loss is
    the copies lost, by the copies sent to those that had not come to their last try: P(first at i + 1) is the loss times
    P(first at i), whatever is left out. Of a port to which all copies go anyway, a copy tells something where another
    arrived. Both have the loss itself as the ratio of their expectations.
    """
    lost = sent - arrived
    if arrived > 1:
        return Counted(sent, lost)
    if stops:
        return Counted(sent if sent < most else 0, lost)
    return Counted(lost, lost)


def _by_target(rows: Iterable[tuple[int, int, PortSet]]) -> dict[int, dict[int, PortSet]]:
    """Target to a number of copies to the ports that had this many."""
    found: dict[int, dict[int, PortSet]] = {}
    for target, copies, ports in rows:
        by_copies = found.setdefault(target, {})
        by_copies[copies] = by_copies.get(copies, PortSet()) | ports
    return found


def slower_pps(rounds: Sequence[RoundData]) -> int:
    """A quarter of the rate that the last round went at."""
    rates = [d.source.packets / d.source.duration_s for d in rounds if d.source and d.source.duration_s]
    return max(LEAST_PPS, int(rates[-1] / 4)) if rates else 0


def uncaptured(rounds: Sequence[RoundData]) -> float:
    """How much of what came back the source's own capture may have lost: answers to silent cells among it."""
    lost = sum(data.source.uncaptured for data in rounds if data.source)
    seen = sum(data.source.captured for data in rounds if data.source)
    return (upper_bound(seen + lost, lost) or 0.0) if lost else 0.0
