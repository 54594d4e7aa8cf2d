"""Sends the packets of source controls, and believes their answers by token or by the coordinator's key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from probes.clock import monotonic
from probes.context import Station
from probes.host.routes import NoRoute
from probes.packets.parse import Packet, hops
from probes.packets.route import Route, ethertype_of
from probes.packets.token import CELL_COPIES, CONTROL_COPIES, echo_reply, echo_request, token
from probes.packets.tx_ring import Way, way_of
from probes.protocols import udp_payloads
from probes.source.cell import verify
from probes.source.controls import FINAL_TRIES, Controls, Series
from probes.source.job import Job
from reachability.distance import Distances
from reachability.observation import ControlTarget, Target
from reachability.topology import family, in_networks, is_address
from reachability.vocabulary import ControlKind, Protocol, State

ANSWER_S, LOOK_S = 0.12, 0.003
ECHOES = {ControlKind.COORDINATOR, ControlKind.MEETING}  # kinds of controls that answer over UDP with the round's key
MOST_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Made:
    """A control's packet: not sent yet, but counted as if it were."""

    series: Series
    data: bytes

    @property
    def way(self) -> Way:
        """What packets that leave together with it share."""
        return way_of(self.series.route, ethertype_of(self.series.address))


class ControlSender:
    """The controls of one job on the wire. A `Handler` of the source ports that they leave from."""

    def __init__(self, station: Station, job: Job, controls: Controls, distances: Distances | None = None) -> None:
        """`distances` is filled: each control is asked over many flows."""
        self._distances = distances or Distances()
        self._station = station
        self._job = job
        self._controls = controls
        self._sent: dict[int, tuple[Series, int]] = {}  # by the number that its source port was reserved for
        self.packets = 0
        self.problems: list[str] = []

    async def lay_out(self, several: Iterable[Route] = ()) -> None:
        """Every control of the job, for each source address that it says something of, by each of its ways.

        One in the agent's own environment shows of no packet that it got out; of the pair it shows a ban all the same.
        `several`: the ways of copies that leave by more than one: a control by one says nothing of the others.
        """
        own = tuple(ip_network(text) for text in self._job.networks)
        for control in self._job.controls:
            if control.kind != ControlKind.PAIR and in_networks(control.address, own):
                self.problems.append(f"{control.address} is in the source's own environment: it controls nothing")
                continue
            concerned = [t for t in self._job.targets if is_address(t.address) and _same_family(t, control)]
            if all(target.protocol is not control.protocol for target in self._job.targets):
                continue
            for source in sorted({target.source for target in concerned}):
                if control.source not in {"", source} or not self._is_apart(control, source):
                    continue
                ways = await self._station.way(control.address, source)
                if isinstance(ways, NoRoute):
                    continue
                for route in (*ways, *_further(ways, several, control)):
                    self._controls.add(_series(control, route))

    def _is_apart(self, control: ControlTarget, source: str) -> bool:
        """Whether a witness cannot take its packets for copies of a cell of another of this agent's addresses.

        The token does not tell source addresses apart; the packet's own does, where the endpoint is probed from it too.
        """
        at = (control.address, control.protocol)
        probed = [
            target
            for target in self._job.targets
            if (target.address, target.protocol) == at and (control.port in target.ports or not control.port)
        ]
        return not probed or any(target.source in {"", source} for target in probed)

    async def turn(self) -> None:
        """A packet of the control whose turn it is."""
        made = await self.make()
        if made is not None:
            await self.launch(made)

    async def make(self) -> Made | None:
        """The same packet, for whoever sends it: a control between packets of a sweep must go as fast as they do."""
        series = self._controls.turn()
        return None if series is None else await self._make(series)

    async def finish(self, since: float) -> None:
        """Until every control was answered after `since`, or did not want to."""
        for _ in range(FINAL_TRIES):
            unsure = self._controls.unsure(since)
            if not unsure:
                return
            for series in unsure:
                await self.launch(await self._make(series))
            await until(lambda: not self._controls.unsure(since), ANSWER_S)

    def left(self, copy: int, packet: Packet) -> None:
        """Its own capture saw it go out, and when; an answer shows that it left."""
        series, index = self._sent[copy]
        series.sent[index] = packet.at

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
            good = found is not None and found.state is series.expect
        if good:
            series.answered.setdefault(index, packet.at)
        if good and series.expect is State.OPEN:  # a port that the round itself may not try
            self._distances.replied(series.address, hops(packet.ttl), tcp=series.protocol is Protocol.TCP)
        elif good and series.protocol is Protocol.TCP:
            self._distances.reset(series.address, series.port, hops(packet.ttl))

    async def _make(self, series: Series) -> Made:
        await self._station.bound.take(series.protocol)
        index, number = len(series.sent), len(self._sent)
        series.sent.append(monotonic())
        self._sent[number] = (series, index)
        # Each from a new port: through the connection entry of an earlier one a ban would not show.
        local = self._station.flows.reserve(self, series.protocol, number)
        copy = CELL_COPIES + index % CONTROL_COPIES
        tok = token(self._job.key, series.address, series.protocol, series.port, copy)
        tail = self._echo(series, copy)[len(tok) :] if _is_echo(series) else b""
        route, address, protocol = series.route, series.address, series.protocol
        data = self._station.build(route, address, protocol, local, series.port, tok, tail=tail, body=series.request)
        return Made(series, data)

    async def launch(self, made: Made) -> None:
        """Send what `make` made."""
        series = made.series
        try:
            await self._station.launch(series.route, series.address, made.data)
            self.packets += 1
        except OSError as error:
            if len(self.problems) < MOST_PROBLEMS:
                self.problems.append(f"cannot send a control to {series.address}: {error.strerror or error}")

    def _echo(self, series: Series, copy: int) -> bytes:
        return echo_request(self._job.key, series.address, series.port, self._job.round, copy)


async def until(ready: Callable[[], bool], within_s: float) -> None:
    """Wait for something, but not for long."""
    end = monotonic() + within_s
    while not ready() and monotonic() < end:  # noqa: ASYNC110 - answers come from the capture
        await asyncio.sleep(LOOK_S)


def _series(control: ControlTarget, route: Route) -> Series:
    series = Series(control.address, control.protocol, control.port, control.kind, route)
    if control.protocol is Protocol.UDP and control.kind not in ECHOES:
        # A resolver or a time server answers what it knows.
        series.request = udp_payloads.REQUESTS.get(control.port, b"")
    if control.kind == ControlKind.PAIR:  # it has answered recently
        series.sent, series.answered = [monotonic()], {0: monotonic()}
    return series


def _further(ways: Sequence[Route], several: Iterable[Route], control: ControlTarget) -> list[Route]:
    """Gateways that copies go by, and the kernel would not send the control to."""
    return [
        route
        for route in several
        if route.next_hop
        and route not in ways
        and family(route.source) == family(control.address)
        and route.source == ways[0].source
    ]


def _same_family(target: Target, control: ControlTarget) -> bool:
    return family(target.address) == family(control.address)


def _is_echo(series: Series) -> bool:
    return series.protocol is Protocol.UDP and series.kind in ECHOES
