"""The packets of a cell: those that a round kept, and by which hops they go."""

from __future__ import annotations

import msgspec

from coordinator.api.responses.words import PacketRoleWord, ProtocolWord, ReasonWord, Time


class Clocks(msgspec.Struct, frozen=True, kw_only=True):
    """What to add to the witness's `at_ms`, and how exact that is, in milliseconds; null where no answer bounds it."""

    shift_ms: float
    within_ms: float | None


class ExchangeSource(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent, and when it began by the coordinator's clock, about."""

    agent: str
    address: str
    began: Time


class ExchangeWitness(msgspec.Struct, frozen=True, kw_only=True):
    """How the witness listened. `off_host`: packets of other hosts that it captured; `why` is null when it was healthy."""

    agent: str
    began: Time
    armed_ms: float
    listened_s: float
    healthy: bool
    why: str | None
    off_host: int


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """A packet as one side (`source` or `witness`) kept it. Header fields are null where it lacks them, or was cut short.

    `at_ms` counts from that side's beginning by its own clock; `time` is laid over the source's. `copy` counts from 1, null
    for what carries no token. `rtt_ms`: after what it answers. `length` is the whole packet's, in bytes; `data` what was kept
    of it from layer 3 on, in hex; `payload` the first eight bytes of a datagram's or echo's.
    """

    side: str
    agent: str
    interface: str
    what: PacketRoleWord
    copy: int | None
    at_ms: float
    time: Time
    rtt_ms: float | None
    source: str | None
    destination: str | None
    protocol: ProtocolWord | None
    source_port: int | None
    destination_port: int | None
    ttl: int | None
    length: int
    flags: str | None
    seq: int | None
    ack: int | None
    ts_val: int | None
    ts_ecr: int | None
    icmp_type: int | None
    icmp_code: int | None
    icmp_id: int | None
    icmp_seq: int | None
    payload: str | None
    said: str
    comment: str
    data: str


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A cell's packets of both sides in one order. `exact`: `port` (null for ICMP) was asked for, not one that looked alike.

    `witness` is null where none listened, `clocks` where the two could not be laid over each other.
    """

    round: str
    protocol: ProtocolWord
    port: int | None
    exact: bool
    source: ExchangeSource
    witness: ExchangeWitness | None
    destination: str
    clocks: Clocks | None
    packets: tuple[Packet, ...]


class Packets(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a finding's packets."""

    finding: str
    exchanges: tuple[Exchange, ...]


class TraceHop(msgspec.Struct, frozen=True, kw_only=True):
    """What the packets of one TTL got; `address` and `rtt_ms` are null for silence."""

    ttl: int
    address: str | None
    reason: ReasonWord
    rtt_ms: float | None
    sent: int
    answers: int


class TraceWitness(msgspec.Struct, frozen=True, kw_only=True):
    """What the destination's witness saw. `least_ttl` is null where nothing arrived, `why` where it could tell."""

    agent: str
    healthy: bool
    why: str | None
    arrived: int
    least_ttl: int | None


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """By which hops a cell's packets go. `port` is null for ICMP, `via` where it is not known, `witness` where there is none.

    `reached` is null where it is not shown either way, `stops_after` where they do not stop or nobody said where.
    """

    round: str
    agent: str
    source_address: str
    address: str
    protocol: ProtocolWord
    port: int | None
    via: str | None
    packets: int
    seconds: float
    hops: tuple[TraceHop, ...]
    reached: bool | None
    stops_after: str | None
    witness: TraceWitness | None
    text: str
