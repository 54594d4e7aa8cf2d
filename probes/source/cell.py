"""What a source knows of each cell while a round runs, and how answers change it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from probes import classify
from probes.classify import Outcome
from probes.packets.parse import RST, SYN, Packet, hops
from probes.packets.route import Route
from probes.packets.token import tcp_fields, token
from probes.protocols import udp_payloads
from reachability.observation import Observation, Target
from reachability.ports import PortSet
from reachability.refusal import is_policy, is_refusal
from reachability.vocabulary import KernelAnswer, Protocol, Reason, SentBy, State

ERROR, SILENT, REFUSED, CLOSED, OPEN = range(-1, 4)
THREE_FLOWS = 3  # fewer refusals may be one leg of several
_LEVEL = {
    State.ERROR: ERROR,
    State.FILTERED: SILENT,
    State.OPEN_FILTERED: SILENT,
    State.CLOSED: CLOSED,
    State.OPEN: OPEN,
}


class Departure(NamedTuple):
    """A copy that left, and when (monotonic seconds)."""

    copy: int
    at: float


class ControlKey(NamedTuple):
    """What a control is good for: one protocol in one family."""

    protocol: Protocol
    family: int


class Refusals(NamedTuple):
    """Which copies of a cell ICMP errors refused: a bit each."""

    refused: int = 0
    prohibited: int = 0  # by a policy's codes alone, and from others than the endpoint
    prohibited_at_host: int = 0  # the same, from the endpoint itself

    def with_copy(self, bit: int, reason: Reason, *, own: bool) -> Refusals:
        """One more refusal. A copy that met anything but a policy was not prohibited, whatever else came for it, and when."""
        known = self.prohibited | self.prohibited_at_host
        if not is_policy(reason) or self.refused & ~known & bit:
            return Refusals(self.refused | bit, self.prohibited & ~bit, self.prohibited_at_host & ~bit)
        if own:
            return Refusals(self.refused | bit, self.prohibited, self.prohibited_at_host | bit)
        return Refusals(self.refused | bit, self.prohibited | bit, self.prohibited_at_host)


NONE_REFUSED = Refusals()


@dataclass(slots=True)
class Cell:
    """One endpoint in a round. Bit n of `left` and of each of `refusals` is copy n."""

    target: Target
    port: int  # 0 for ICMP
    routes: tuple[Route, ...] = ()
    state: State = State.FILTERED
    reason: Reason = Reason.NO_RESPONSE
    refused_by: str = ""
    hops: int | None = None
    rtt_ms: float | None = None
    timed: bool = False  # by the capture; else by a call that waits for the event loop
    sent: list[float] = field(default_factory=list)  # when each copy was handed to the kernel
    left: int = 0  # copies that its own capture saw leave
    newest: Departure | None = None  # of the last of them
    refusals: Refusals = NONE_REFUSED
    kernel: KernelAnswer = KernelAnswer.NOT_TRIED
    kind: str = ""  # probe kind, where it is not the protocol itself
    said: str = ""
    note: str = ""

    @property
    def level(self) -> int:
        """How much is known: an error, silence, a refusal, closed, open."""
        return REFUSED if is_refusal(self.state, self.reason) else _LEVEL[self.state]

    @property
    def source(self) -> str:
        """The address it is sent from."""
        return self.routes[0].source if self.routes else self.target.source

    @property
    def via(self) -> str:
        """The way the packets go; where they go several ways, the first."""
        return self.routes[0].via if self.routes else ""

    @property
    def request(self) -> bytes:
        """What its copies carry in place of a token: where no witness looks for one, what a service of its port answers."""
        asks = self.target.protocol is Protocol.UDP and not self.target.witness
        return udp_payloads.REQUESTS.get(self.port, b"") if asks else b""

    def wants(self, host_hops: int | None) -> bool:
        """Whether a further copy would tell more.

        A RST that came fewer hops than the host's own replies is the path's: another flow may take another path.
        """
        level = self.level
        if level == CLOSED and len(self.sent) < THREE_FLOWS:
            return self.hops is None or self.hops != host_hops
        return level in (SILENT, REFUSED)

    def fail(self, reason: Reason, note: str = "") -> None:
        """It cannot be probed (any further)."""
        self.state, self.reason, self.note = State.ERROR, reason, note

    def answer(self, key: bytes, copy: int, packet: Packet) -> bool:
        """Take an answer to a copy; False for one that does not prove to be an answer to what was sent."""
        found = verify(key, self.target.address, self.target.protocol, self.port, copy, packet)
        if found is None:
            return False
        state, reason = found
        distance = hops(packet.ttl)
        further = state is self.state is State.CLOSED and distance > (self.hops or 0)
        better = _LEVEL[state] > self.level or further
        if better:
            self.state, self.reason, self.hops, self.refused_by, self.note = state, reason, distance, "", ""
        if better or not self.timed:
            self._time(copy, packet.at)
        return True

    def refuse(self, key: bytes, copy: int, packet: Packet, quote: Packet) -> bool:
        """Take an ICMP error that quotes a copy; False for one whose quote does not prove it: it counts for nothing."""
        proves = quotes(key, self.target.address, self.target.protocol, self.port, copy, quote)
        if proves:
            self.take_refusal(packet, copy)
        return proves

    def take_refusal(self, packet: Packet, copy: int | None = None) -> None:
        """Take an ICMP error about a copy, or (None) about the kernel's own try."""
        state, reason = classify.icmp(packet.protocol, packet.icmp_type, packet.icmp_code)
        if state is State.ERROR:
            return
        own = packet.source == self.target.address
        if self.target.protocol is Protocol.UDP and reason is Reason.PORT_UNREACH and own:
            state = State.CLOSED
        elif copy is not None:
            self.refusals = self.refusals.with_copy(1 << copy, reason, own=own)
        # A refusal by the endpoint itself says more than one by a router: row 9 of the table stands on it.
        nearer = self.level == REFUSED and own and self.refused_by != packet.source
        if self.level < (CLOSED if state is State.CLOSED else REFUSED) or nearer:
            self.state, self.reason, self.refused_by, self.hops = state, reason, packet.source, hops(packet.ttl)
            if copy is not None:
                self._time(copy, packet.at)

    def take_refusal_by(self, by: str, state: State, reason: Reason) -> None:
        """The same as the kernel hears of it, where there is no capture: errno alone calls each of them refused."""
        if state is State.ERROR:
            return
        own_udp = self.target.protocol is Protocol.UDP and by == self.target.address
        closed = own_udp and reason is Reason.PORT_UNREACH
        self.state, self.reason, self.refused_by = State.CLOSED if closed else state, reason, by

    def saw_leave(self, copy: int, at: float) -> None:
        """Its own capture saw a copy leave."""
        self.left |= 1 << copy
        self.newest = Departure(copy, at)

    def _time(self, copy: int, at: float) -> None:
        """From the capture's view of both: what waited for the rate before it left was not on its way."""
        if self.newest is not None and copy == self.newest.copy:
            self.rtt_ms, self.timed = round((at - self.newest.at) * 1000, 3), True


def new_cell(target: Target, port: int, routes: tuple[Route, ...]) -> Cell:
    """A cell of which nothing is known; silence means less in UDP."""
    return Cell(target, port, routes, State.OPEN_FILTERED if target.protocol is Protocol.UDP else State.FILTERED)


def verify(key: bytes, address: str, protocol: Protocol, port: int, copy: int, packet: Packet) -> Outcome | None:
    """State and reason of an answer that echoes the token of a copy; None for a stray or forged one.

    A UDP answer echoes nothing: its ports and the address have to do, and the caller has checked address and source port.
    """
    match protocol:
        case Protocol.TCP:
            sequence, stamp = tcp_fields(token(key, address, protocol, port, copy))
            if packet.ack != (sequence + 1) & 0xFFFFFFFF and packet.ts_ecr != stamp:
                return None
            if packet.flags & RST:
                return Outcome(State.CLOSED, Reason.RESET)
            return Outcome(State.OPEN, Reason.SYN_ACK) if packet.flags & SYN else None
        case Protocol.UDP:
            return Outcome(State.OPEN, Reason.UDP_RESPONSE) if packet.sport == port else None
        case Protocol.ICMP:
            if packet.payload[:8] != token(key, address, protocol, port, copy):
                return None
            return Outcome(State.OPEN, Reason.ECHO_REPLY)


def quotes(key: bytes, address: str, protocol: Protocol, port: int, copy: int, quote: Packet) -> bool:
    """Whether the packet that an ICMP error quotes is the copy. The quote may end behind eight bytes (RFC 792)."""
    tok = token(key, address, protocol, port, copy)
    if protocol is Protocol.TCP:
        sequence, stamp = tcp_fields(tok)
        return quote.seq == sequence or quote.ts_val == stamp
    # A service's own request carries no token, and a short quote shows none: then the ports speak for it.
    return protocol is Protocol.UDP or not quote.payload or quote.payload[:8] == tok[: len(quote.payload)]


def observations(cells: Iterable[Cell], covers: Callable[[Cell, float], bool], *, raw: bool) -> tuple[Observation, ...]:
    """Fold cells that look alike into runs of ports.

    Args:
        cells: every cell of the round.
        covers: whether a source control shows that what was sent for the cell at a time got out.
        raw: whether packets were sent raw at all.
    """
    runs: dict[Observation, list[Cell]] = {}
    sent: dict[Observation, list[list[float]]] = {}
    for cell in cells:
        left = [at for copy, at in enumerate(cell.sent) if cell.left >> copy & 1]
        covered = [at for at in left if covers(cell, at)]
        alike = _observation(cell, len(covered), raw=raw)
        runs.setdefault(alike, []).append(cell)
        if left:
            sent.setdefault(alike, []).append(covered or left)
    result = []
    for alike, members in runs.items():
        rtts = [cell.rtt_ms for cell in members if cell.rtt_ms is not None]
        ports = PortSet.of(cell.port for cell in members).compact()
        times = sent.get(alike)
        result.append(
            replace(
                alike,
                ports=ports,
                rtt_ms=min(rtts) if rtts else None,
                first_at=round(max(map(min, times)), 3) if times else None,
                last_at=round(min(map(max, times)), 3) if times else None,
            )
        )
    return tuple(result)


def _observation(cell: Cell, covered: int, *, raw: bool) -> Observation:
    left = cell.left.bit_count()
    return Observation(
        target=cell.target.id,
        source_address=cell.source,
        address=cell.target.address,
        protocol=cell.target.protocol,
        kind=cell.kind or cell.target.protocol.value,
        name=cell.target.name,
        state=cell.state,
        reason=cell.reason,
        refused_by=cell.refused_by,
        way=_sent_by(cell, raw=raw),
        kernel=cell.kernel,
        via=cell.via,
        sent=left,
        covered=covered,
        flows=left,  # every copy has a source port of its own
        refused=(cell.refusals.refused & cell.left).bit_count(),
        prohibited=(cell.refusals.prohibited & cell.left).bit_count(),
        prohibited_at_host=(cell.refusals.prohibited_at_host & cell.left).bit_count(),
        hops=cell.hops,
        said=cell.said,
        note=cell.note,
    )


def _sent_by(cell: Cell, *, raw: bool) -> SentBy:
    if raw and cell.sent:
        return SentBy.RAW_AND_CONNECT if cell.kernel else SentBy.RAW
    return SentBy.CONNECT if cell.kernel else SentBy.NOTHING


def control_key(address: str, protocol: Protocol) -> ControlKey:
    """What a control at an address is good for."""
    return ControlKey(protocol, 6 if ":" in address else 4)
