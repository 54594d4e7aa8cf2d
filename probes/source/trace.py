"""The probe behind `explain --trace`: the packets of one cell with TTL (hop limit) 1, 2, 3, ... and who answers them.

Proves: that a router of that address had the packet (its ICMP time-exceeded quotes it), that somebody refused it, that an
answer came. Suggests: by which way packets go; copies differ in their source port, so that where several ways lead there,
a hop may have several addresses. Blind to: routers that send no ICMP, which look like a packet that is lost or stopped.
Privilege: CAP_NET_RAW. On the wire: at most 48 packets, by the agent's rate; an open TCP port's SYN-ACK gets the
kernel's RST.
"""

from __future__ import annotations

from dataclasses import dataclass

from probes import classify
from probes.clock import monotonic
from probes.context import Station
from probes.host.routes import NoRoute
from probes.packets.parse import Packet
from probes.packets.port_arrays import sources_for
from probes.packets.route import Route
from probes.packets.token import token
from probes.source.cell import quotes, verify
from probes.source.control_sender import until
from reachability.observation import Hop, Observation, SourceReport
from reachability.ports import PortSet
from reachability.topology import is_address
from reachability.trace import MOST_TTL, TRIES, copy_of, ends_the_way, ttl_of
from reachability.vocabulary import Protocol, Reason, SentBy, State
from wire.messages import Go

TRY_S = 1.1  # a Linux router sends a peer six ICMP errors, then one a second
TAIL_S = 2.0


@dataclass(frozen=True, slots=True)
class Got:
    """The answer to a packet."""

    address: str
    state: State
    reason: Reason
    rtt_ms: float | None


class Trace:
    """One trace, of the first port of a round's first target. `run` gives the report and how long witnesses must listen on."""

    def __init__(self, station: Station, go: Go) -> None:
        self._station = station
        self._go = go
        self._target = go.targets[0]
        self._port = self._target.ports.first
        self._source = ""
        self._left: dict[int, float] = {}  # copy -> when its own capture saw it leave
        self._got: dict[int, Got] = {}

    async def run(self) -> tuple[SourceReport, float]:
        """Send all TTLs at once, then twice more those that got no answer; nothing beyond the hop that ended the way."""
        started = monotonic()
        found = await self._way()
        if isinstance(found, Reason):
            return self._report(started, None, found), 0.0
        self._source = found.source
        last = started
        try:
            for attempt in range(TRIES):
                for ttl in range(1, MOST_TTL + 1):
                    if self._wants(ttl):
                        await self._send(found, ttl, attempt)
                        last = monotonic()
                await until(lambda: not any(map(self._wants, range(1, MOST_TTL + 1))), TRY_S)
        except OSError:
            return self._report(started, found, Reason.LOCAL_ERROR), TAIL_S
        finally:
            self._station.flows.release(self)
        return self._report(started, found, None), max(0.0, TAIL_S - (monotonic() - last))

    def hops(self) -> tuple[Hop, ...]:
        """What each TTL got."""
        rows: list[Hop] = []
        for ttl in range(1, MOST_TTL + 1):
            copies = [copy_of(ttl, attempt) for attempt in range(TRIES)]
            sent = sum(copy in self._left for copy in copies)
            answers: dict[tuple[str, State, Reason], list[float | None]] = {}
            for copy in copies:
                if got := self._got.get(copy):
                    answers.setdefault((got.address, got.state, got.reason), []).append(got.rtt_ms)
            for (address, state, reason), times in answers.items():
                rtts = [rtt for rtt in times if rtt is not None]
                rows.append(
                    Hop(
                        ttl=ttl,
                        state=state,
                        reason=reason,
                        address=address,
                        sent=sent,
                        answers=len(times),
                        rtt_ms=min(rtts) if rtts else None,
                    )
                )
            if sent and not answers:
                rows.append(Hop(ttl=ttl, state=State.FILTERED, reason=Reason.NO_RESPONSE, sent=sent))
        return tuple(rows)

    # -- what the station hands back ------------------------------------------------------------------------------

    def left(self, copy: int, packet: Packet) -> None:
        """Its own capture saw a packet go out."""
        self._left.setdefault(copy, packet.at)

    def answered(self, copy: int, packet: Packet) -> None:
        """Something came in to one of our ports: believed with the token, from the endpoint alone."""
        target = self._target
        if packet.source != target.address or packet.sport != self._port:
            return
        found = verify(self._go.key, target.address, target.protocol, self._port, copy, packet)
        if found is not None:
            self._take(copy, packet, *found)

    def refused(self, copy: int, packet: Packet, quote: Packet) -> None:
        """An ICMP error: believed when it quotes our source port and, where the quote has it, the token."""
        target = self._target
        if (quote.source, quote.destination, quote.dport) != (self._source, target.address, self._port):
            return
        if not quotes(self._go.key, target.address, target.protocol, self._port, copy, quote):
            return
        state, reason = classify.icmp(packet.protocol, packet.icmp_type, packet.icmp_code)
        if state is State.ERROR:
            return
        own = packet.source == target.address
        if target.protocol is Protocol.UDP and reason is Reason.PORT_UNREACH and own:
            state = State.CLOSED
        self._take(copy, packet, state, reason)

    def _take(self, copy: int, packet: Packet, state: State, reason: Reason) -> None:
        left = self._left.get(copy)
        rtt_ms = None if left is None else round((packet.at - left) * 1000, 3)
        self._got.setdefault(copy, Got(packet.source, state, reason, rtt_ms))

    # -- sending and reporting ------------------------------------------------------------------------------------

    async def _way(self) -> Route | Reason:
        if not self._station.raw:
            return Reason.NO_PERMISSION
        if not is_address(self._target.address):
            return Reason.RESOLVE_FAILED
        found = await self._station.way(self._target.address, self._target.source)
        return found.reason if isinstance(found, NoRoute) else found[0]

    def _wants(self, ttl: int) -> bool:
        """Whether a further packet with this TTL would tell more."""
        ended = min((ttl_of(copy) for copy, got in self._got.items() if ends_the_way(got.reason)), default=MOST_TTL + 1)
        return ttl < ended and not any(copy_of(ttl, attempt) in self._got for attempt in range(TRIES))

    async def _send(self, route: Route, ttl: int, attempt: int) -> None:
        target, copy = self._target, copy_of(ttl, attempt)
        local = self._station.flows.reserve(self, target.protocol, copy, sources_for(self._port))
        tok = token(self._go.key, target.address, target.protocol, self._port, copy)
        await self._station.send(route, target.address, target.protocol, local, self._port, tok, ttl=ttl)

    def _report(self, started: float, route: Route | None, error: Reason | None) -> SourceReport:
        target, hops = self._target, self.hops()
        end = next((hop for hop in hops if ends_the_way(hop.reason)), None)
        silent = (State.FILTERED, Reason.NO_RESPONSE)
        state, reason = (State.ERROR, error) if error else (end.state, end.reason) if end else silent
        seen = Observation(
            target=target.id,
            source_address=route.source if route else target.source,
            address=target.address,
            protocol=target.protocol,
            state=state,
            reason=reason,
            ports=PortSet.of([self._port]),
            kind="trace",
            way=SentBy.NOTHING if error else SentBy.RAW,
            via=route.via if route else "",
            sent=len(self._left),
            flows=len(self._left),
        )
        return SourceReport(
            round=self._go.round,
            agent=self._station.agent,
            observations=(seen,),
            trace=hops,
            packets=len(self._left),
            duration_s=round(monotonic() - started, 3),
            raw=self._station.raw,
        )
