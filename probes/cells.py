"""What a source knows of each cell while a round runs, and how answers change it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from probes import classify
from probes.packet import RST, SYN, Packet, hops
from probes.routes import Route
from probes.token import tcp_fields, token
from reachability.observation import Observation, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Reason, State

SILENT, REFUSED, CLOSED, OPEN = range(4)
_LEVEL = {State.ERROR: -1, State.FILTERED: SILENT, State.OPEN_FILTERED: SILENT, State.CLOSED: CLOSED, State.OPEN: OPEN}


@dataclass(slots=True)
class Cell:
    """One endpoint in a round."""

    target: Target
    port: int
    routes: tuple[Route, ...] = ()
    state: State = State.FILTERED
    reason: Reason = Reason.NO_RESPONSE
    refused_by: str = ""
    hops: int | None = None
    rtt_ms: float | None = None
    sent_at: dict[int, float] = field(default_factory=dict)
    left: list[float] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    kernel: str = ""
    said: str = ""
    note: str = ""

    @property
    def level(self) -> int:
        """How much is known: silence, a refusal, closed, open; -1 for an error."""
        if self.state is State.FILTERED and self.reason is not Reason.NO_RESPONSE:
            return REFUSED
        return _LEVEL[self.state]

    @property
    def settled(self) -> bool:
        """Whether further copies would tell nothing new."""
        return self.level >= CLOSED or self.state is State.ERROR

    @property
    def via(self) -> str:
        """The way the packets go."""
        return self.routes[0].via if self.routes else ""

    def answer(self, key: bytes, copy: int, packet: Packet) -> bool:
        """Take an answer to a copy; False for one that does not prove to be an answer to what was sent."""
        found = verify(key, self.target.address, self.target.protocol, self.port, copy, packet)
        if found is None:
            return False
        state, reason = found
        if _LEVEL[state] > self.level:
            self.state, self.reason = state, reason
            self.hops, self.refused_by = hops(packet.ttl), ""
            if copy in self.sent_at:
                self.rtt_ms = round((packet.at - self.sent_at[copy]) * 1000, 3)
        return True

    def refuse(self, key: bytes, copy: int, packet: Packet, quote: Packet) -> None:
        """Take an ICMP error that quotes a copy."""
        protocol = self.target.protocol
        tok = token(key, self.target.address, protocol, self.port, copy)
        if protocol is Protocol.UDP and quote.payload and quote.payload[:8] != tok[: len(quote.payload[:8])]:
            return
        if protocol is Protocol.TCP and quote.seq != tcp_fields(tok)[0] and quote.ts_val not in (-1, tcp_fields(tok)[1]):
            return
        state, reason = classify.icmp(packet.protocol, packet.icmp_type, packet.icmp_code)
        if state is State.ERROR:
            return
        if protocol is Protocol.UDP and reason is Reason.PORT_UNREACH and packet.source == self.target.address:
            state = State.CLOSED
        else:
            self.refused.add(copy)
        if self.level < (CLOSED if state is State.CLOSED else REFUSED):
            self.state, self.reason, self.refused_by = state, reason, packet.source
            self.hops = hops(packet.ttl)
            if copy in self.sent_at:
                self.rtt_ms = round((packet.at - self.sent_at[copy]) * 1000, 3)


def verify(
    key: bytes, address: str, protocol: Protocol, port: int, copy: int, packet: Packet
) -> tuple[State, Reason] | None:
    """State and reason of an answer that echoes the token of a copy; None for a stray or forged one."""
    match protocol:
        case Protocol.TCP:
            sequence, stamp = tcp_fields(token(key, address, protocol, port, copy))
            if packet.ack != (sequence + 1) & 0xFFFFFFFF and packet.ts_ecr != stamp:
                return None
            if packet.flags & RST:
                return State.CLOSED, Reason.RESET
            return (State.OPEN, Reason.SYN_ACK) if packet.flags & SYN else None
        case Protocol.UDP:
            return State.OPEN, Reason.UDP_RESPONSE
        case Protocol.ICMP:
            if packet.payload[:8] != token(key, address, protocol, port, copy):
                return None
            return State.OPEN, Reason.ECHO_REPLY


def observations(cells: Iterable[Cell], covered: Callable[[str, str, str], float], *, raw: bool) -> tuple[Observation, ...]:
    """Fold cells that look alike into runs of ports.

    Args:
        cells: every cell of the round.
        covered: (source address, via, control key) -> monotonic time until which copies are covered by a source control.
        raw: whether packets were sent raw at all.
    """
    runs: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        until = covered(_source(cell), cell.via, control_key(cell.target.address, cell.target.protocol))
        sent = len(cell.left)
        key = (
            cell.target.id, cell.state, cell.reason, cell.refused_by, cell.kernel, cell.said, cell.note, cell.hops, cell.via,
            _source(cell), sent, sum(at <= until for at in cell.left), len(cell.refused),
        )  # fmt: skip
        runs.setdefault(key, []).append(cell)
    result = []
    for key, alike in runs.items():
        first = alike[0]
        icmp = first.target.protocol is Protocol.ICMP
        rtts = [cell.rtt_ms for cell in alike if cell.rtt_ms is not None]
        ways = [way for way, used in (("raw", raw and first.sent_at), ("connect", first.kernel or not raw)) if used]
        result.append(
            Observation(
                target=first.target.id,
                source_address=_source(first),
                address=first.target.address,
                protocol=first.target.protocol,
                ports="" if icmp else str(PortSet.of(cell.port for cell in alike)),
                kind=first.target.protocol.value,
                name=first.target.name,
                state=first.state,
                reason=first.reason,
                refused_by=first.refused_by,
                way="+".join(ways),
                kernel=first.kernel,
                via=first.via,
                sent=int(str(key[10])),
                covered=int(str(key[11])),
                flows=len(first.left),
                refused=len(first.refused),
                hops=first.hops,
                rtt_ms=min(rtts) if rtts else None,
                said=first.said,
                note=first.note,
            )
        )
    return tuple(result)


def control_key(address: str, protocol: Protocol) -> str:
    """What a control is good for: one protocol in one family."""
    return f"{protocol.value}{6 if ':' in address else 4}"


def _source(cell: Cell) -> str:
    return cell.routes[0].source if cell.routes else cell.target.source
