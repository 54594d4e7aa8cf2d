"""Source controls: packets that are expected to be answered, interleaved with the probes, so that silence can count.

What was sent after the last good control proves nothing. A control on the pair itself that stops being answered (a ban,
a full connection table) cuts off all that was sent to the pair after its last answer.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from probes.cells import control_key, verify
from probes.packet import Packet
from probes.routes import Route
from probes.token import CELL_COPIES, echo_reply, echo_request
from reachability.loss import upper_bound
from reachability.observation import ControlResult
from reachability.vocabulary import Protocol

FIRST_COPY = 1000  # how controls are told from cells where a source port is reserved for a copy
FINAL_TRIES, FINAL_PAUSE_S = 20, 0.075
SAME_LOSS = 0.001  # so improbable that loss alone explains a row of misses, it must be taken for a ban
HOPELESS = 6
PAIR = "pair"


@dataclass(slots=True)
class Series:
    """One control and how its packets went."""

    address: str
    protocol: Protocol
    port: int
    kind: str
    route: Route
    sent: list[float] = field(default_factory=list)
    answered: dict[int, float] = field(default_factory=dict)  # index of the packet -> when the answer came

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is good for: source address, way, protocol and family."""
        return self.route.source, self.route.via, control_key(self.address, self.protocol)

    @property
    def last_good(self) -> float:
        """When the newest answered packet was sent; 0.0: never."""
        return max((self.sent[index] for index in self.answered), default=0.0)

    @property
    def hopeless(self) -> bool:
        """Whether nothing ever answered: this endpoint is no control."""
        return not self.answered and len(self.sent) >= HOPELESS

    @property
    def went_bad(self) -> bool:
        """Whether it was good and then missed so often in a row that loss does not explain it."""
        if not self.answered:
            return False
        until = max(self.answered)
        missed = sum(1 for at in self.sent[until + 1 :] if time.monotonic() - at > 0.5)  # noqa: PLR2004 - answers in flight
        loss = upper_bound(until + 1, until + 1 - len(self.answered)) or 1.0
        return loss < 1 and missed >= max(3, math.ceil(math.log(SAME_LOSS) / math.log(loss)))


class Controls:
    """All controls of a round."""

    def __init__(self, key: bytes, round_id: str, send: Callable[[Series, int], Awaitable[None]]) -> None:
        self._key = key
        self._round = round_id
        self._send = send
        self._packets: list[tuple[Series, int]] = []
        self._next = 0
        self.series: list[Series] = []

    def add(self, series: Series) -> None:
        """Add a control, unless it is there."""
        if all((s.address, s.protocol, s.port, s.key) != (series.address, series.protocol, series.port, series.key) for s in self.series):
            self.series.append(series)

    @staticmethod
    def copy_of(index: int) -> int:
        """The copy number in the token of a control's packet."""
        return CELL_COPIES + index % CELL_COPIES

    async def one(self) -> None:
        """Send the next control in turn."""
        live = [series for series in self.series if not series.hopeless]
        if live:
            self._next += 1
            await self._fire(live[self._next % len(live)])

    async def each(self, times: int = 1) -> None:
        """Send every control so many times."""
        for _ in range(times):
            for series in self.series:
                if not series.hopeless:
                    await self._fire(series)

    async def final(self, since: float) -> None:
        """Send until every control that is worth it was answered after `since`, or 20 times."""
        for _ in range(FINAL_TRIES):
            waiting = [s for s in self.series if s.last_good <= since and not s.hopeless]
            if not waiting:
                return
            for series in waiting:
                await self._fire(series)
            await asyncio.sleep(FINAL_PAUSE_S)
        await asyncio.sleep(0.3)

    def answered(self, number: int, packet: Packet) -> None:
        """Take an answer to the control packet of that number."""
        series, index = self._packets[number - FIRST_COPY]
        if packet.source != series.address:
            return
        if series.kind == "coordinator" and series.protocol is Protocol.UDP:
            good = packet.payload[:16] == echo_reply(self._key, self.request(series, index))
        else:
            good = (
                verify(self._key, series.address, series.protocol, series.port, self.copy_of(index), packet) is not None
            )
        if good and (series.protocol is Protocol.ICMP or packet.sport == series.port):
            series.answered.setdefault(index, packet.at)

    def request(self, series: Series, index: int) -> bytes:
        """The UDP payload of a control to the coordinator."""
        return echo_request(self._key, series.address, series.port, self._round, self.copy_of(index))

    def covered_until(self, source: str, via: str, key: str) -> float:
        """Until when copies sent from there, that way, with that protocol and family are known to have got out."""
        mine = [s for s in self.series if s.key == (source, via, key)]
        # What answers on the pair may be a middlebox on this side: it shows a ban, but not that packets get out.
        good = max((s.last_good for s in mine if s.kind != PAIR), default=0.0)
        family = key[-1]
        bans = [s.last_good for s in self.series if s.kind != "coordinator" and s.key[2][-1] == family and s.went_bad]
        bans += [s.last_good for s in mine if s.went_bad]
        return min([good, *bans])

    def loss(self) -> float | None:
        """Upper bound of the loss there and back, over the controls that are answered at all."""
        old = time.monotonic() - 0.2
        sent = answered = 0
        for series in self.series:
            if series.answered:
                done = [i for i, at in enumerate(series.sent) if at < old or i in series.answered]
                sent += len(done)
                answered += len(series.answered)
        return upper_bound(sent, sent - answered)

    def results(self, until: float) -> tuple[ControlResult, ...]:
        """What the report says of each control."""
        return tuple(
            ControlResult(
                address=s.address,
                protocol=s.protocol,
                kind=s.kind,
                port=s.port,
                source_address=s.route.source,
                via=s.route.via,
                sent=len(s.sent),
                answered=len(s.answered),
                ended_good=s.last_good >= until,
                rtt_ms=min((round((at - s.sent[i]) * 1000, 3) for i, at in s.answered.items()), default=None),
            )
            for s in self.series
        )

    async def _fire(self, series: Series) -> None:
        index = len(series.sent)
        series.sent.append(time.monotonic())
        self._packets.append((series, index))
        await self._send(series, FIRST_COPY + len(self._packets) - 1)

    def packet(self, number: int) -> tuple[Series, int]:
        """The control and the index of its packet."""
        return self._packets[number - FIRST_COPY]
