"""Controls of the pair under test itself: cells that answered, asked again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from probes.packets.route import Route
from probes.packets.rx_ring import Counts
from probes.protocols import udp_payloads
from probes.source.cell import CLOSED, OPEN, Cell, ControlKey, control_key
from probes.source.controls import Controls, Coverage, Key, Series
from probes.source.job import Job
from reachability.loss import copies_needed, upper_bound
from reachability.observation import Target
from reachability.vocabulary import ControlKind, Protocol

UNCONTROLLED_PASSES = 6  # where no control answers, a witness may still show that copies got out
A_KIND = 2  # controls of a protocol and family, and one for each further host: its loss is its own


def of_the_pair(settled: Iterable[Cell], controls: Controls, last_sent: float) -> tuple[list[Cell], list[Series]]:
    """Of cells that answered, the best first: those to go on with in every pass, and new controls.

    The former where no control of a kind answers: a witness that sees the last copies shows that the others got out as well.
    """
    good = {series.key.kind for series in controls.series if series.answered}
    paced: Counter[ControlKey] = Counter()
    taken: Counter[ControlKey] = Counter()
    hosts: set[tuple[ControlKey, str]] = set()
    going_on, made = [], []
    for cell in settled:
        kind = control_key(cell.target.address, cell.target.protocol)
        if cell.level >= CLOSED and kind not in good and paced[kind] < A_KIND:
            paced[kind] += 1
            going_on.append(cell)
        host = kind, cell.target.address
        if _is_control(cell) and (taken[kind] < A_KIND or host not in hosts):
            taken[kind] += 1
            hosts.add(host)
            # That it answered once counts: if it never does again, these two were banned from each other.
            first = cell.sent[0] if cell.sent else last_sent
            target = cell.target
            for route in cell.routes:
                control = Series(target.address, target.protocol, cell.port, ControlKind.PAIR, route, cell.state)
                control.sent, control.answered = [first], {0: first}
                control.request = cell.request
                if target.protocol is Protocol.UDP and cell.hops is None:
                    # No keyed copy was answered, its own request was: asked by token it would look banned.
                    control.request = udp_payloads.REQUESTS.get(cell.port, b"")
                made.append(control)
    return going_on, made


def _is_control(cell: Cell) -> bool:
    """Whether it would answer again, and that can be told.

    A closed port does over TCP: where nothing listens, a ban that drops TCP alone would not show otherwise. Over UDP its
    port-unreach is one of a few that a host sends in a second.
    """
    return bool(cell.routes) and (cell.level >= OPEN or (cell.level == CLOSED and cell.target.protocol is Protocol.TCP))


def keys_of(routes: Iterable[Route], target: Target) -> list[Key]:
    """What must be shown of a target's copies: each of them leaves by every one of its ways."""
    kind = control_key(target.address, target.protocol)
    return [Key(route.source, route.via, kind) for route in routes]


def copies_wanted(controls: Controls, captured: Counts, cells: int, job: Job) -> int:
    """How many copies cells that are not settled must have, by what controls and its own capture (`captured`) lost; 0: no more."""
    loss = controls.loss()
    if loss is None:
        return max(job.copies, UNCONTROLLED_PASSES)
    good = [series for series in controls.series if series.answered]
    if len(controls.stopped()) == len(good):
        return 0  # banned, or the table is full: more copies prove nothing
    seen, lost = captured
    loss = max(loss, upper_bound(seen + lost, lost) or 0.0) if lost else loss
    return max(job.copies, copies_needed(cells, loss) or job.most_copies)


def covers(coverage: Coverage, cell: Cell, at: float) -> bool:
    """Whether a source control shows that what was sent for a cell at a time got out, by every one of its ways."""
    return all(coverage.covers(key, cell.target.address, at) for key in keys_of(cell.routes, cell.target))
