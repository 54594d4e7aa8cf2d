"""What is asked of a round's source and what it saw: runs of ports seen alike, by an inside control too. Facts, no judgement.

Every class here travels on the wire as it stands (msgspec encodes dataclasses), so a field that is added needs a default.
`ports` of ICMP is `ICMP_CELL`, which need not be given. Addresses are bare; the wire, not the name, carries IPv6.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from reachability.ports import ICMP_CELL, PortSet
from reachability.vocabulary import (
    ControlKind,
    KernelAnswer,
    PacketRole,
    Protocol,
    Reason,
    Role,
    SentBy,
    State,
)


class HasPorts:
    """ICMP has one cell, which goes without saying; on the wire it is left out."""

    __slots__ = ()
    protocol: Protocol
    ports: PortSet

    def __post_init__(self) -> None:
        if self.protocol is Protocol.ICMP:
            object.__setattr__(self, "ports", ICMP_CELL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(HasPorts):
    """What a round probes at one address with one protocol."""

    id: int
    environment: str  # the destination's
    address: str
    protocol: Protocol
    ports: PortSet = PortSet()
    first: PortSet = PortSet()  # services' and catalogue ports: sent first, slowly, and through the kernel too
    source: str = ""  # the source address to send from; "": the kernel's choice
    name: str = ""  # the DNS name that resolved to the address
    witness: str = ""  # agent on the host that owns the address
    inside: str = ""  # agent that controls from inside
    canary: int = 0  # port from 49152 up that nobody serves; 0: none
    beside: bool = False  # no cell of the round: a declared endpoint whose witness shows that packets get out


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTarget:
    """An endpoint outside the source's environment that is expected to answer (or be witnessed): shows that packets get out."""

    address: str
    protocol: Protocol
    port: int = 0
    kind: str = ControlKind.COORDINATOR  # a `ControlKind`
    source: str = ""  # the source address that it holds for; "": each


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation(HasPorts):
    """A run of ports of one target that the source (or the inside control) saw alike."""

    target: int
    source_address: str
    address: str
    protocol: Protocol
    state: State
    reason: Reason
    ports: PortSet = PortSet()
    kind: str = ""  # probe kind
    name: str = ""
    refused_by: str = ""  # who sent the ICMP error
    way: str = SentBy.NOTHING  # a `SentBy`
    kernel: str = KernelAnswer.NOT_TRIED  # a `KernelAnswer`
    via: str = ""  # "interface next-hop": "eth0 10.10.0.1", "eth0 direct"
    sent: int = 0  # copies that the source's own capture saw leave
    covered: int = 0  # of these, the ones sent before the last good source control of the protocol and family
    flows: int = 0  # distinct source ports among the copies sent
    first_at: float | None = (
        None  # the source's CLOCK_MONOTONIC, seconds: when the first of the covered copies (of all,
    )
    last_at: float | None = None  # where none is) left, and the last; over the ports the latest and the earliest
    refused: int = 0  # copies that were refused
    prohibited: int = 0  # of these, the ones refused by a policy's codes alone, from others than the endpoint
    prohibited_at_host: int = 0  # the same, from the endpoint itself
    hops: int | None = None  # from the answer's TTL
    rtt_ms: float | None = None
    said: str = ""  # digest (16 hex) of eight bytes or more that the endpoint said, volatile parts removed
    note: str = ""  # for people: banner, HTTP status, certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlResult:
    """How one source control went. Counted per (control, source address, via)."""

    address: str
    protocol: Protocol
    kind: str  # the control's
    port: int = 0
    source_address: str = ""
    via: str = ""
    sent: int = 0
    answered: int = 0
    ended_good: bool = False  # answered after the last packet of the round
    rtt_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryResult:
    """What the source got from a host's canary port before and after; `filtered` is silence."""

    target: int
    address: str
    port: int
    before: State
    after: State
    protocol: Protocol = Protocol.TCP


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFlow:
    """What was sent through the kernel, without a token: the witness's untokened arrivals are matched by its source port."""

    address: str
    protocol: Protocol
    port: int
    source_address: str
    source_port: int
    ports: PortSet = PortSet()  # in place of `port`: all that a sweep by connect tried from the source port


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPacket:
    """A packet as a capture saw it, from layer 3 on and cut short; of packets that are not ours the headers alone."""

    target: int
    what: PacketRole
    at_ms: float  # on that side's own clock: since its part of the round began (the witness: since it was armed)
    data: bytes
    port: int = 0  # of the cell
    copy: int | None = None  # None: it carries no token
    interface: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """What the packets of a trace with one TTL (hop limit) got: who answered what, or silence, which has no address."""

    ttl: int
    state: State
    reason: Reason
    address: str = ""
    sent: int = 0  # packets with this TTL that the source's own capture saw leave
    answers: int = 0  # of them, those that got this
    rtt_ms: float | None = None  # of the quickest


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """All that the source saw in a round; from an inside control, `role` is `inside` and there are no controls."""

    round: str
    agent: str
    role: Role = Role.SOURCE
    observations: tuple[Observation, ...] = ()
    controls: tuple[ControlResult, ...] = ()
    canaries: tuple[CanaryResult, ...] = ()
    kernel_flows: tuple[KernelFlow, ...] = ()
    host_hops: dict[str, int] = field(default_factory=dict)  # address -> hops of the host's own replies
    least_hops: dict[str, int] = field(default_factory=dict)  # the same, at the least that a way back may have
    legs: dict[str, int] = field(default_factory=dict)  # address -> most routers seen at one distance: flows part there
    slots: tuple[int, ...] = ()  # challenge: 1 for an on-slot, 0 for an off-slot
    slot_ms: float = 0.0
    slots_sent: tuple[
        int, ...
    ] = ()  # packets that its own capture saw leave in each slot, to any of the ports at least
    trace: tuple[Hop, ...] = ()  # by rising TTL; where a hop has several addresses, a row each
    packets: int = 0
    captured: int = 0  # packets that its own capture saw meanwhile
    uncaptured: int = 0  # packets that it lost: answers may have been among them
    duration_s: float = 0.0
    raw: bool = True  # packets were sent and captured raw; False: connect only
    problems: tuple[str, ...] = ()
    kept: tuple[KeptPacket, ...] = ()  # of every cell that answered, and of some that were silent
    again: bool = False  # of an inside control: its second asking, after the source's last packet
    instance: str = ""  # of the process that made it, new at each start; "": its version does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What a name of another environment resolved to at an agent; empty addresses: `problem` says why."""

    name: str
    addresses: tuple[str, ...] = ()
    problem: str = ""
    origin: str = ""  # a `NameOrigin`; "": not known, or its version does not say
    full_name: str = ""  # what DNS was asked for in the end, where a search domain made it another
    ttl_s: int | None = None  # of the records, as DNS last said
    wildcard: str = ""  # such as "*.prod.internal": a name that was made up leads to the same
