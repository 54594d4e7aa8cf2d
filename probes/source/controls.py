"""Source controls: packets that are expected to be answered, interleaved with the probes, so that silence can count.

What was sent after the last good control proves nothing. Endpoints of the pair under test that answered are asked again
and again: they show a ban between these two, though not that packets get out (a middlebox on this side may answer).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.clock import monotonic
from probes.packets.route import Route
from probes.source.cell import ControlKey, control_key
from reachability.loss import Counted, total, upper_bound, worst
from reachability.observation import ControlResult
from reachability.vocabulary import ControlKind, Protocol, State

FINAL_TRIES = 20
SAME_LOSS = 0.001  # so improbable that loss alone explains a row of misses, it must be taken for a ban
LEAST_ROW, LONG_ROW = 4, 10
HOPELESS = 24
LEAST_EACH = (
    12  # when all are answered, fewer than 0.01 open ports are missed whatever the loss: (1 - p)^12 · p^3 is less
)
FLAKY = 3  # misses beside a row that show a control to lose packets all the time
IN_FLIGHT_S = 0.5


class Key(NamedTuple):
    """Which packets a control speaks for: those from this address that leave by this way, of one protocol and family."""

    source_address: str
    via: str
    kind: ControlKey


Spans = Sequence[tuple[float, float]]  # of time, both ends in them


@dataclass(slots=True, eq=False)
class Series:
    """One control and how its packets went.

    `expect` is the state that its answer must show; `request` is a UDP payload, where only that is answered and no token.
    """

    address: str
    protocol: Protocol
    port: int
    kind: str  # a `ControlKind`, or a word that only who asked knows
    route: Route
    expect: State = State.OPEN
    request: bytes = b""
    sent: list[float] = field(default_factory=list)
    answered: dict[int, float] = field(default_factory=dict)  # index of the packet -> when the answer came

    @property
    def key(self) -> Key:
        """What it is good for."""
        return Key(self.route.source, self.route.via, control_key(self.address, self.protocol))

    @property
    def endpoint(self) -> tuple[str, Protocol, int, str]:
        """Address, protocol, port, and the address that it is asked from."""
        return self.address, self.protocol, self.port, self.route.source

    @property
    def last_good(self) -> float:
        """When the newest answered packet was sent; 0.0: never."""
        return self.sent[max(self.answered)] if self.answered else 0.0

    @property
    def hopeless(self) -> bool:
        """Whether nothing ever answered: this endpoint is not a control."""
        return not self.answered and len(self.sent) >= HOPELESS

    def rows(self, least: int, now: float, void: Spans) -> Iterator[range]:
        """Runs of `least` or more packets in a row (indices) without an answer that its usual loss does not explain."""
        runs = list(self._runs(now, void))
        long = sum(len(run) for run in runs if len(run) >= LONG_ROW)
        missed = sum(map(len, runs)) - long
        for run in runs:
            others = missed - (len(run) if len(run) < LONG_ROW else 0)
            loss = (upper_bound(others + len(self.answered), others) or 0.0) if others >= FLAKY else 0.0
            if len(run) >= least and loss ** len(run) < SAME_LOSS:
                yield run

    def _runs(self, now: float, void: Spans) -> Iterator[range]:
        """Packets in a row without an answer, those left out that are in flight, or were sent when nothing counted."""
        start = None
        end = len(self.sent)
        while end and end - 1 not in self.answered and now - self.sent[end - 1] < IN_FLIGHT_S:
            end -= 1
        for index in range(end + 1):
            if index == end or index in self.answered or is_within(self.sent[index], void):
                if start is not None:
                    yield range(start, index)
                start = None
            elif start is None:
                start = index

    def gaps(self, least: int, now: float, void: Spans) -> list[tuple[float, float]]:
        """The times between good packets in which it was not answered: (after, before), the last one maybe without end."""
        return [(self._good_before(row.start), self._good_from(row.stop)) for row in self.rows(least, now, void)]

    def _good_before(self, index: int) -> float:
        return next((self.sent[i] for i in range(index - 1, -1, -1) if i in self.answered), 0.0)

    def _good_from(self, index: int) -> float:
        return next((self.sent[i] for i in range(index, len(self.sent)) if i in self.answered), math.inf)


class Controls:
    """All controls of a round: whose turn it is, and what their answers say. Sends nothing itself."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now, self._next = now, 0
        self.series: list[Series] = []
        self.void: list[tuple[float, float]] = []  # what was sent then was lost for its speed: it counts for nothing

    def add(self, series: Series) -> None:
        """Add a control, unless it is there."""
        same = (series.address, series.protocol, series.port, series.key, series.kind)
        if all((s.address, s.protocol, s.port, s.key, s.kind) != same for s in self.series):
            self.series.append(series)

    @property
    def live(self) -> list[Series]:
        """The controls that are worth a packet."""
        return [series for series in self.series if not series.hopeless]

    def turn(self) -> Series | None:
        """The control whose turn it is."""
        live = self.live
        self._next += 1
        return live[self._next % len(live)] if live else None

    def lacking(self, least: int) -> int:
        """How many packets there still must be, so that there are so many, and enough of each: a host's loss is its own."""
        return max(least, LEAST_EACH * len(self.live)) - sum(len(series.sent) for series in self.series)

    def unsure(self, since: float) -> list[Series]:
        """The controls that have had no answer to anything sent after `since`."""
        return [series for series in self.live if series.last_good <= since]

    def row(self) -> int:
        """How many misses in a row loss does not explain any more (p^k < 0.001)."""
        loss = self._pooled(LONG_ROW)
        if loss is None:
            return LONG_ROW
        return FINAL_TRIES if loss >= 1 else max(LEAST_ROW, math.ceil(math.log(SAME_LOSS) / math.log(loss)))

    def loss(self) -> float | None:
        """Upper bound of the loss there and back over the controls that are answered at all; None: none is.

        Of the protocol and the host of the pair that lose most: what a clean one tells is not to hide it.
        """
        row, now = self.row(), self._now()
        counts = [(s, self._counts(s, row, now)) for s in self.series if s.answered]
        elsewhere = {protocol: total(c for s, c in counts if _is(s, protocol, "")) for protocol in Protocol}
        bounds = [
            worst(
                [elsewhere[protocol], *(total(c for s, c in counts if _is(s, protocol, host)) for host in hosts)],
                [counted for other, counted in elsewhere.items() if other is not protocol],
            )
            for protocol in Protocol
            if (hosts := {s.address for s, _ in counts if s.protocol is protocol and s.kind == ControlKind.PAIR})
            or elsewhere[protocol].sent
        ]
        return max((bound for bound in bounds if bound is not None), default=None)

    def stopped(self) -> list[Series]:
        """Controls that were good and are not any more."""
        row, now = self.row(), self._now()
        return [s for s in self.series if s.answered and any(end == math.inf for _, end in s.gaps(row, now, self.void))]

    def coverage(self) -> Coverage:
        """What the controls show, as it stands now."""
        return Coverage(self.series, self.row(), self._now(), self.void)

    def results(self, until: float) -> tuple[ControlResult, ...]:
        """What the report says of each control; those of a ban, or sent too fast, are not counted."""
        row, now = self.row(), self._now()
        counts = {s: self._counts(s, row, now) for s in self.series}
        return tuple(
            ControlResult(
                address=s.address,
                protocol=s.protocol,
                kind=s.kind,
                port=s.port,
                source_address=s.route.source,
                via=s.route.via,
                sent=counts[s].sent,
                answered=counts[s].sent - counts[s].lost,
                ended_good=s.last_good >= until,
                rtt_ms=min(
                    (round((at - s.sent[i]) * 1000, 3) for i, at in s.answered.items() if at > s.sent[i]), default=None
                ),
            )
            for s in self.series
        )

    def _pooled(self, row: int) -> float | None:
        now = self._now()
        groups: dict[bool, list[Counted]] = {True: [], False: []}
        for series in self.series:
            if series.answered:
                groups[series.kind == ControlKind.PAIR].append(self._counts(series, row, now))
        return worst(map(total, groups.values()))

    def _counts(self, series: Series, row: int, now: float) -> Counted:
        """None of a ban, none that is void, none in flight."""
        banned = {index for span in series.rows(row, now, self.void) for index in span} if series.answered else set()
        counted = [
            index in series.answered
            for index, at in enumerate(series.sent)
            if index not in banned
            and (index in series.answered or now - at >= IN_FLIGHT_S)
            and not is_within(at, self.void)
        ]
        return Counted(len(counted), counted.count(False))


class Coverage:
    """Whether what was sent at a moment is known to have got out, and not into a ban."""

    def __init__(self, series: list[Series], row: int, now: float, void: Spans = ()) -> None:
        self._void = tuple(void)
        self._good: dict[Key, list[tuple[float, list[tuple[float, float]]]]] = {}
        self._pair: dict[tuple[str, int], list[tuple[Series, list[tuple[float, float]]]]] = {}
        for each in series:
            if not each.answered or _answers_by_another_way(each, series):
                continue
            gaps = each.gaps(row, now, self._void)
            if each.kind == ControlKind.PAIR:
                self._pair.setdefault((each.route.via, each.key.kind.family), []).append((each, gaps))
            else:
                self._good.setdefault(each.key, []).append((each.last_good, gaps))
        changes = {at for span in self._void for at in span}
        for each in series:
            if each.answered:
                changes |= {each.last_good, *(at for gap in each.gaps(row, now, self._void) for at in gap)}
        self._edges = sorted(changes)  # when the answer may change

    def covers(self, key: Key, address: str, at: float) -> bool:
        """Whether a control from the same place by the same way was good after `at`, and the pair was not banned then."""
        if is_within(at, self._void):
            return False
        good = self._good.get(key, ())
        return any(at < last and not _within(at, gaps) for last, gaps in good) and not self.banned(key, address, at)

    def covers_each(self, key: Key, address: str, at: NDArray[np.float64]) -> NDArray[np.bool_]:
        """The same for many moments."""
        spans = np.searchsorted(self._edges, at, "left") + np.searchsorted(self._edges, at, "right")
        _, firsts, which = np.unique(spans, return_index=True, return_inverse=True)
        return np.array([self.covers(key, address, float(at[first])) for first in firsts], bool)[which]

    def banned(self, key: Key, address: str, at: float) -> bool:
        """Whether an endpoint of the pair that answers otherwise did not at that time.

        One that stops for TCP speaks for every protocol (a scanner's ban), another for its own; for all where nothing
        of the pair still answered. What still answers at the very address outweighs what happened at another.
        """
        pair = self._pair.get((key.via, key.kind.family), ())
        bad = [each for each, gaps in pair if _within(at, gaps)]
        good = [each for each, gaps in pair if not _within(at, gaps) and at < each.last_good]
        mine = [each for each in bad if each.address == address]
        if not mine and any(each.address == address for each in good):
            return False
        return bool(bad) and (
            not good or any(each.protocol is Protocol.TCP or each.key.kind == key.kind for each in (mine or bad))
        )


def _is(series: Series, protocol: Protocol, host: str) -> bool:
    """Whether it is a control of the protocol: of the pair at that host, or ("") elsewhere."""
    at = series.address if series.kind == ControlKind.PAIR else ""
    return (series.protocol, at) == (protocol, host)


def _answers_by_another_way(one: Series, series: Iterable[Series]) -> bool:
    """Whether the first answer, which any of several ways may have brought, is all there was by this one, and not by another."""
    if one.kind != ControlKind.PAIR or one.answered.keys() != {0}:
        return False
    return any(len(s.answered) > 1 and s.route != one.route and s.endpoint == one.endpoint for s in series)


def _within(at: float, gaps: list[tuple[float, float]]) -> bool:
    return any(after < at < before for after, before in gaps)


def is_within(at: float, spans: Spans) -> bool:
    """Whether a moment is in one of them."""
    return any(began <= at <= ended for began, ended in spans)
