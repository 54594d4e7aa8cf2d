"""Sends the packets of source controls, and believes their answers by token or by the coordinator's key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from probes.cells import verify
from probes.controls import FINAL_TRIES, Controls, Series
from probes.job import Job
from probes.packet import Packet
from probes.station import Station
from probes.token import CELL_COPIES, CONTROL_COPIES, echo_reply, echo_request, token
from reachability.vocabulary import Protocol

ANSWER_S, LOOK_S = 0.12, 0.01
MOST_PROBLEMS = 5


class Asker:
    """The controls of one job on the wire. A `Handler` of the source ports that they leave by."""

    def __init__(self, station: Station, job: Job, controls: Controls) -> None:
        self._station = station
        self._job = job
        self._controls = controls
        self._sent: dict[int, tuple[Series, int]] = {}  # by the number that its source port was reserved for
        self.packets = 0
        self.problems: list[str] = []

    async def turn(self) -> None:
        """A packet of the control whose turn it is."""
        series = self._controls.turn()
        if series is not None:
            await self._ask(series)

    async def finish(self, since: float) -> None:
        """Until every control was answered after `since`, or did not want to."""
        for _ in range(FINAL_TRIES):
            unsure = self._controls.unsure(since)
            if not unsure:
                return
            for series in unsure:
                await self._ask(series)
            await until(lambda: not self._controls.unsure(since), ANSWER_S)

    def left(self, copy: int, packet: Packet) -> None:
        """Nothing to do: an answer shows that it left."""

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """Nothing to do: whoever refuses it may be inside."""

    def answered(self, copy: int, packet: Packet) -> None:
        """Something came in to a control's port."""
        series, index = self._sent[copy]
        if packet.source != series.address:
            return
        number = CELL_COPIES + index % CONTROL_COPIES
        if _is_echo(series):
            good = packet.payload == echo_reply(self._job.key, self._echo(series, number))
        else:
            found = verify(self._job.key, series.address, series.protocol, series.port, number, packet)
            good = found is not None and found[0] is series.expect
        if good:
            series.answered.setdefault(index, packet.at)

    async def _ask(self, series: Series) -> None:
        index = len(series.sent)
        number = len(self._sent)
        self._sent[number] = (series, index)
        # Each from a new port: through the connection entry of an earlier one a ban would not show.
        local = self._station.flows.reserve(self, series.protocol, number)
        copy = CELL_COPIES + index % CONTROL_COPIES
        tok = token(self._job.key, series.address, series.protocol, series.port, copy)
        tail = self._echo(series, copy)[len(tok) :] if _is_echo(series) else b""
        series.sent.append(time.monotonic())
        try:
            await self._station.send(series.route, series.address, series.protocol, local, series.port, tok, tail=tail)
            self.packets += 1
        except OSError as error:
            if len(self.problems) < MOST_PROBLEMS:
                self.problems.append(f"cannot send a control to {series.address}: {error.strerror or error}")

    def _echo(self, series: Series, copy: int) -> bytes:
        return echo_request(self._job.key, series.address, series.port, self._job.round, copy)


async def until(ready: Callable[[], bool], within_s: float) -> None:
    """Wait for something, but not for long."""
    end = time.monotonic() + within_s
    while not ready() and time.monotonic() < end:  # noqa: ASYNC110 - answers come from the capture
        await asyncio.sleep(LOOK_S)


def _is_echo(series: Series) -> bool:
    return series.protocol is Protocol.UDP and series.kind == "coordinator"
