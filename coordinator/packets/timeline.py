"""One order for the packets that two sides saw of a cell.

Each side has a clock of its own and nothing says that they agree. Where both saw a copy, the witness's clock is laid over the
source's so that every copy arrives after it was sent and is answered before the answer came back; else each stays by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from coordinator.json_types import Body
from coordinator.packets.headers import Headers, headers
from reachability.observation import KeptPacket
from reachability.vocabulary import PacketRole, Protocol

SOURCE, WITNESS = "source", "witness"
_ORDER = tuple(PacketRole)
_TOKEN = {
    Protocol.TCP: "its token is the sequence number and the timestamp value",
    Protocol.UDP: "its token is the first eight bytes of the payload",
    Protocol.ICMP: "its token is the first eight bytes of the payload",
}


@dataclass(frozen=True, slots=True)
class Side:
    """One side's packets. `began`: when its times count from, epoch seconds by the coordinator's clock, about."""

    name: str
    agent: str
    began: float
    kept: Sequence[KeptPacket] = ()


@dataclass(eq=False, slots=True)
class _Packet:
    side: Side
    kept: KeptPacket
    fields: Headers
    copy: int | None
    epoch: float = 0.0
    rtt_ms: float | None = None

    @property
    def far(self) -> tuple[str, int]:
        """The end that is not the cell's: the prober's address and port, as this side saw them."""
        to_cell = self.kept.what in (PacketRole.SENT, PacketRole.ARRIVED, PacketRole.STRANGE)
        end = "source" if to_cell else "destination"
        return str(self.fields[end]), int(self.fields[f"{end}_port"] or self.fields["icmp_id"] or 0)


def timeline(protocol: Protocol, source: Side, witness: Side) -> tuple[list[Body], Body | None]:
    """The packets in order, and how the witness's clock was laid over the source's: null where it was not.

    `shift_ms` is what to add to the witness's `at_ms`; `within_ms` how exact that is, null where no answer bounds it.
    """
    here, there = _read(source), _read(witness)
    _name_answers(there)
    for packet in here:
        packet.rtt_ms = _rtt(packet, here)
    lowest, highest = _bounds(here, there)
    clocks: Body | None = None
    shift_ms = (witness.began - source.began) * 1000
    if lowest is not None:
        exact = highest is not None and highest >= lowest
        shift_ms = (lowest + highest) / 2 if exact and highest is not None else lowest
        within = round((highest - lowest) / 2, 3) if exact and highest is not None else None
        clocks = {"shift_ms": round(shift_ms, 3), "within_ms": within}
    for packet in here:
        packet.epoch = source.began + packet.kept.at_ms / 1000
    for packet in there:
        packet.epoch = source.began + (packet.kept.at_ms + shift_ms) / 1000
    both = sorted((*here, *there), key=lambda packet: (packet.epoch, _ORDER.index(packet.kept.what)))
    return [_body(packet, protocol) for packet in both], clocks


def stamp(at: float) -> str:
    """Epoch seconds as `2026-11-23T12:04:07.123456Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _read(side: Side) -> list[_Packet]:
    return [_Packet(side, kept, headers(kept.data), kept.copy) for kept in side.kept]


def _name_answers(packets: Sequence[_Packet]) -> None:
    """An answer carries no token: which copy it is for, the port says that it goes to."""
    copies = {packet.far: packet.copy for packet in packets if packet.kept.what is PacketRole.ARRIVED}
    for packet in packets:
        if packet.kept.what is PacketRole.ANSWERED and packet.copy is None:
            packet.copy = copies.get(packet.far)


def _rtt(packet: _Packet, packets: Iterable[_Packet]) -> float | None:
    """How long after what it answers it came back."""
    if packet.kept.what is not PacketRole.CAME_BACK:
        return None
    asked = [
        one.kept.at_ms
        for one in packets
        if one.kept.what is PacketRole.SENT
        and one.kept.at_ms <= packet.kept.at_ms
        and (one.copy == packet.copy if packet.copy is not None else one.far == packet.far)
    ]
    return round(packet.kept.at_ms - max(asked), 3) if asked else None


def _bounds(here: Sequence[_Packet], there: Sequence[_Packet]) -> tuple[float | None, float | None]:
    """What may be added to the witness's times at least, and at most."""

    def first(packets: Sequence[_Packet], *what: PacketRole) -> dict[Any, float]:
        """When each copy was first seen; what is not a copy is known by the end that sent it, which NAT may change."""
        found: dict[Any, float] = {}
        for packet in packets:
            if packet.kept.what in what:
                found.setdefault(packet.far if packet.copy is None else packet.copy, packet.kept.at_ms)
        return found

    sent, arrived = first(here, PacketRole.SENT), first(there, PacketRole.ARRIVED, PacketRole.STRANGE)
    answered, back = first(there, PacketRole.ANSWERED), first(here, PacketRole.CAME_BACK)
    least = [sent[one] - arrived[one] for one in sent.keys() & arrived.keys()]
    most = [back[one] - answered[one] for one in back.keys() & answered.keys()]
    return max(least, default=None), min(most, default=None)


def _body(packet: _Packet, protocol: Protocol) -> Body:
    kept = packet.kept
    return {
        "side": packet.side.name,
        "agent": packet.side.agent,
        "interface": kept.interface,
        "what": kept.what.value,
        "copy": None if packet.copy is None else packet.copy + 1,
        "at_ms": kept.at_ms,
        "time": stamp(packet.epoch),
        "rtt_ms": packet.rtt_ms,
        **packet.fields,
        "comment": _comment(packet, protocol),
        "data": kept.data.hex(),
    }


def _comment(packet: _Packet, protocol: Protocol) -> str:
    agent, copy = packet.side.agent, None if packet.copy is None else f"copy {packet.copy + 1}"
    match packet.kept.what:
        case PacketRole.SENT:
            return (
                f"{agent} sent {copy}: {_TOKEN[protocol]}" if copy else f"{agent}'s kernel sent this: it is not a copy"
            )
        case PacketRole.ARRIVED:
            return f"{copy or 'what the kernel sent'} arrived at {agent}, known by its token"
        case PacketRole.ANSWERED:
            return f"{agent}'s host answered {copy or 'a packet that is not a copy'}"
        case PacketRole.CAME_BACK:
            after = "" if packet.rtt_ms is None else f", {packet.rtt_ms:.3f} ms after it was sent"
            return f"the answer to {copy or 'what the kernel sent'} came back to {agent}{after}"
        case PacketRole.STRANGE:
            return f"came to {agent} from outside and has no token"
        case PacketRole.INSTEAD:
            return f"{agent} saw this packet of another host in the round, so its capture worked"
