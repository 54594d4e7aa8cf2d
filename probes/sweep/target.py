"""The cells of one target in a sweep, as numpy columns: one place per port. `probes.source.cell.Cell` is a single one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.packets import columns
from probes.packets.build import Template
from probes.packets.port_arrays import Mask, Places, may_answer, place_of, port_set, window_of
from probes.packets.retained import Sample
from probes.packets.route import Route
from probes.packets.token import CELL_COPIES, token, tokens
from probes.source.cell import CLOSED, ERROR, OPEN, REFUSED, SILENT, THREE_FLOWS, Cell, Refusals, new_cell
from reachability.observation import Observation, Target
from reachability.vocabulary import Protocol, Reason, SentBy, State

NO_HOPS = -1
KEPT_TOKENS = 2  # copies of which tokens are kept; answers to older ones are checked one by one
FEW_COPIES = 8  # as many bits as a byte has; there are seldom more
REASONS = tuple(Reason)
_STATES = {
    ERROR: State.ERROR,
    SILENT: State.FILTERED,
    REFUSED: State.FILTERED,
    CLOSED: State.CLOSED,
    OPEN: State.OPEN,
}

Flight = tuple[str, Protocol, int, int]  # source address, protocol, copy, window: what a source port is reserved for


class Spans:
    """When the first and the last copy of each place left."""

    def __init__(self, count: int) -> None:
        self._first = np.full(count, np.inf, np.float32)
        self._last = np.full(count, -np.inf, np.float32)

    def add(self, which: Mask, when: NDArray[np.float32]) -> None:
        """Copies of these places left then."""
        np.minimum(self._first, when, out=self._first, where=which)
        np.maximum(self._last, when, out=self._last, where=which)

    def of(self, places: Mask, began: float) -> tuple[float, float]:
        """The latest of the first copies of these places, and the earliest of the last; `began` is what they count from."""
        first, last = float(self._first[places].max()), float(self._last[places].min())
        return round(began + first, 3), round(began + last, 3)


class Block:
    """One target. `sent` counts copies, bit n of `left` and `refused` is copy n.

    `when` has seconds since the round began by copy, NaN where none went.
    """

    def __init__(self, target: Target, routes: tuple[Route, ...], key: bytes, way: SentBy = SentBy.RAW) -> None:
        """`way`: as an observation names it."""
        self.target = target
        self.way = way
        self.routes = routes
        self.ports = target.ports
        count = len(self.ports)
        self.numbers, self.place = place_of(self.ports)
        self.left: NDArray[Any]
        self.refused: tuple[NDArray[Any], ...]  # in the order of `Refusals`
        self.level = np.full(count, SILENT, np.int8)
        self.reason = np.full(count, REASONS.index(Reason.NO_RESPONSE), np.uint8)
        self.hops = np.full(count, NO_HOPS, np.int16)
        self.by = np.zeros(count, np.uint8)  # who refused: place in `refusers`
        self.sent = np.zeros(count, np.uint8)
        self.left, self.refused = np.zeros(count, np.uint8), tuple(np.zeros(count, np.uint8) for _ in Refusals._fields)
        self.when: list[NDArray[np.float32]] = []
        self.window = window_of(self.numbers)
        self.pacers = np.zeros(count, bool)
        self.sample = Sample(count)
        self.refusers = [""]
        self.rtt_ms: float | None = None
        self.packed = columns.packed(target.address)
        self.source = routes[0].source
        self._key = key
        self._tokens: dict[int, NDArray[np.uint8]] = {}
        self._template = Template(self.source, target.address, target.protocol)
        self._reset = Template(self.source, target.address, target.protocol, flags="R")

    def __len__(self) -> int:
        """How many cells."""
        return len(self.numbers)

    def wants(self, host_hops: int | None) -> Mask:
        """The cells that a further copy would tell more of; as `Cell.wants`."""
        young = (self.level == CLOSED) & (self.sent < THREE_FLOWS)
        if host_hops is not None:
            young &= self.hops != host_hops
        return np.asarray((self.level <= REFUSED) | young)

    def frames(self, places: Places, copy: int, local: int) -> NDArray[np.uint8]:
        """The packets of a copy."""
        return self._template.build_many(local, self.numbers[places], self.tokens(copy)[places])

    def sends(self, places: Places, copy: int, at: float) -> None:
        """A copy is handed over for sending now."""
        while len(self.when) <= copy:
            self.when.append(np.full(len(self), np.nan, np.float32))
        self.when[copy][places] = at
        self.sent[places] += 1
        if copy >= FEW_COPIES and self.left.itemsize == 1:
            self.left = self.left.astype(np.uint64)
            self.refused = tuple(mask.astype(np.uint64) for mask in self.refused)

    def has_sent(self, places: Places, copy: int) -> Mask:
        """To which of them the copy went: to the others nothing can be an answer."""
        return ~np.isnan(self.when[copy][places]) if copy < len(self.when) else np.zeros(len(places), bool)

    def asked(self, place: int, copy: int, local: int) -> bool:
        """Whether the copy went to this place from this source port: what comes to another, or before that, is no answer."""
        return may_answer(int(self.numbers[place]), local) and bool(self.has_sent(np.array([place], np.int32), copy)[0])

    def silent(self, places: Places) -> Places:
        """Those of them to which nobody gave an answer of the endpoint's."""
        return places[self.level[places] < CLOSED]

    def resets(self, places: Places, copy: int, local: int) -> NDArray[np.uint8]:
        """The packets that end what a copy began, as a connection table sees it."""
        made = self.tokens(copy)[places]
        made[:, :4] = (made[:, :4].copy().view(">u4") + 1).astype(">u4").view(np.uint8)
        return self._reset.build_many(local, self.numbers[places], made)

    def frame(self, port: int, copy: int, local: int) -> bytes:
        """One packet, as `frames` makes many."""
        tok = token(self._key, self.target.address, self.target.protocol, port, copy)
        return self._template.build(local, port, tok)

    def flight(self, copy: int, place: int) -> Flight:
        """What a packet's source port was reserved for."""
        return self.source, self.target.protocol, copy, int(self.window[place])

    def copies_left(self, place: int) -> list[int]:
        """The copies of a cell that its own capture saw leave."""
        mask = int(self.left[place])
        return [copy for copy in range(CELL_COPIES) if mask >> copy & 1]

    def tokens(self, copy: int) -> NDArray[np.uint8]:
        """(n, 8) bytes, a row a place."""
        found = self._tokens.get(copy)
        if found is None:
            made = tokens(self._key, self.target.address, self.target.protocol, copy, self.ports)
            found = self._tokens[copy] = np.frombuffer(made, np.uint8).reshape(-1, 8)
            while len(self._tokens) > KEPT_TOKENS:
                del self._tokens[next(iter(self._tokens))]
        return found

    def knows(self, copy: int) -> bool:
        """Whether the tokens of a copy are at hand."""
        return copy in self._tokens

    def saw_leave(self, places: Places, copy: int, at: NDArray[np.float64]) -> None:
        """Its own capture saw copies leave, and when."""
        if not len(places):
            return
        self.left[places] |= self.left.dtype.type(1 << copy)
        # Rounded up: what was sent right after a control must not seem to be from before it.
        self.when[copy][places] = np.nextafter(at.astype(np.float32), np.float32(np.inf))

    def took(self, places: Places, state: State, reason: Reason, hops: NDArray[np.int16]) -> None:
        """Answers that prove to be answers. What is open stays open; of two RSTs the one from further away counts."""
        if state is State.OPEN:
            fresh = self.level[places] < OPEN
            self._set(places[fresh], OPEN, reason, hops[fresh])
            return
        self.hops[places[self.level[places] < CLOSED]] = NO_HOPS  # a refusal's hops are another's
        fresh = self.level[places] <= CLOSED
        furthest = self.hops[places[fresh]].copy()
        np.maximum(furthest, hops[fresh], out=furthest)
        self._set(places[fresh], CLOSED, reason, furthest)

    def fail(self, places: Places, reason: Reason) -> None:
        """These cannot be probed."""
        self._set(places[self.level[places] == SILENT], ERROR, reason, np.array(NO_HOPS, np.int16))

    def refuse(self, place: int, copy: int, reason: Reason, by: str, hops: int) -> None:
        """An ICMP error about a copy, from `by`. As `Cell.refuse`."""
        own = by == self.target.address
        closed = self.target.protocol is Protocol.UDP and reason is Reason.PORT_UNREACH and own
        if not closed:
            before = Refusals(*(int(mask[place]) for mask in self.refused))
            for mask, now in zip(self.refused, before.with_copy(1 << copy, reason, own=own), strict=True):
                mask[place] = now
        level = int(self.level[place])
        nearer = level == REFUSED and own and self.refusers[self.by[place]] != by
        if level < (CLOSED if closed else REFUSED) or nearer:
            if by not in self.refusers and len(self.refusers) < np.iinfo(np.uint8).max:
                self.refusers.append(by)
            one = np.array([place], np.int32)
            self._set(one, CLOSED if closed else REFUSED, reason, np.array([hops], np.int16))
            self.by[place] = self.refusers.index(by) if by in self.refusers else 0

    def rtt(self, ms: float) -> None:
        """A time that an answer took."""
        if self.rtt_ms is None or ms < self.rtt_ms:
            self.rtt_ms = ms

    def answered(self, most: int) -> Iterator[Cell]:
        """A few of the cells that answered, the open ones first."""
        for level in (OPEN, CLOSED):
            for place in np.flatnonzero(self.level == level)[:most]:
                cell = new_cell(self.target, int(self.numbers[place]), self.routes)
                cell.state, cell.reason = _STATES[level], REASONS[self.reason[place]]
                yield cell

    def observations(self, covers: Callable[[NDArray[np.float32]], Mask], began: float = 0.0) -> Iterator[Observation]:
        """Runs of ports that look alike. `covers`: whether what was sent then is known to have got out.

        `began`: what the times count from.
        """
        left = np.bitwise_count(self.left)
        refused = tuple(np.bitwise_count(mask & self.left) for mask in self.refused)
        covered = np.zeros(len(self), np.uint8)
        spans = Spans(len(self)), Spans(len(self))  # of all copies, and of the covered ones
        for copy, when in enumerate(self.when):
            went = (self.left & self.left.dtype.type(1 << copy)) != 0
            counted = went & covers(when)
            covered += counted
            for span, which in zip(spans, (went, counted), strict=True):
                span.add(which, when)
        keys = (self.level - ERROR).astype(np.int64)
        for part, most in ((self.reason, len(REASONS)), (self.by, 256), (self.hops - NO_HOPS, 257)):
            keys = keys * most + part
        for part in (left, covered, *refused):
            keys = keys * (CELL_COPIES + 1) + part  # in all fewer than 55 of the 63 bits
        _, firsts, which = np.unique(keys, return_index=True, return_inverse=True)
        for number, first in enumerate(firsts):
            level = int(self.level[first])
            mine = which == number
            first_at, last_at = spans[bool(covered[first])].of(mine, began) if left[first] else (None, None)
            silent = level == SILENT and self.target.protocol is Protocol.UDP
            yield Observation(
                target=self.target.id,
                source_address=self.source,
                address=self.target.address,
                protocol=self.target.protocol,
                state=State.OPEN_FILTERED if silent else _STATES[level],
                reason=REASONS[self.reason[first]],
                ports=port_set(self.numbers[mine]),
                kind=self.target.protocol.value,
                name=self.target.name,
                refused_by=self.refusers[self.by[first]],
                way=self.way,
                via=self.routes[0].via,
                sent=int(left[first]),
                covered=int(covered[first]),
                flows=int(left[first]),  # every copy has a source port of its own
                first_at=first_at,
                last_at=last_at,
                refused=int(refused[0][first]),
                prohibited=int(refused[1][first]),
                prohibited_at_host=int(refused[2][first]),
                hops=int(self.hops[first]) if self.hops[first] != NO_HOPS else None,
                rtt_ms=self.rtt_ms if level >= CLOSED else None,
            )

    def _set(self, places: Places, level: int, reason: Reason, hops: NDArray[np.int16]) -> None:
        self.level[places], self.reason[places] = level, REASONS.index(reason)
        self.hops[places], self.by[places] = hops, 0
