"""What agents saw in a round: runs of ports seen alike by source, witness and inside control. Facts, no judgement.

Every class here travels on the wire as it stands (msgspec encodes dataclasses), so a field that is added needs a default.
`ports` of ICMP is `ICMP_CELL`, which need not be given. Addresses are bare; the wire, not the name, carries IPv6.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from reachability.ports import ICMP_CELL, PortSet
from reachability.vocabulary import (
    Altered,
    ControlKind,
    KernelAnswer,
    PacketRole,
    Protocol,
    Reason,
    Role,
    SentBy,
    State,
)


class _HasPorts:
    """ICMP has one cell, which goes without saying; on the wire it is left out."""

    __slots__ = ()
    protocol: Protocol
    ports: PortSet

    def __post_init__(self) -> None:
        if self.protocol is Protocol.ICMP:
            object.__setattr__(self, "ports", ICMP_CELL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(_HasPorts):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTarget:
    """An endpoint outside the source's environment that is expected to answer (or be witnessed): shows that packets get out."""

    address: str
    protocol: Protocol
    port: int = 0
    kind: str = ControlKind.COORDINATOR  # a `ControlKind`
    source: str = ""  # the source address that it holds for; "": each


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation(_HasPorts):
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
    refused: int = 0  # copies that were refused
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
    slots: tuple[int, ...] = ()  # challenge: 1 for an on-slot, 0 for an off-slot
    slot_ms: float = 0.0
    trace: tuple[Hop, ...] = ()  # by rising TTL; where a hop has several addresses, a row each
    packets: int = 0
    captured: int = 0  # packets that its own capture saw meanwhile
    uncaptured: int = 0  # packets that it lost: answers may have been among them
    duration_s: float = 0.0
    raw: bool = True  # packets were sent and captured raw; False: connect only
    problems: tuple[str, ...] = ()
    kept: tuple[KeptPacket, ...] = ()  # of every cell that answered, and of some that were silent


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalRow(_HasPorts):
    """A run of ports of one target at which copies with a known token of the round arrived."""

    target: int
    address: str
    protocol: Protocol
    copies: int  # the fewest of the run
    ports: PortSet = PortSet()
    last_copy: int = 0  # highest copy number that arrived (copies count from 0)
    first_copy: int | None = None  # lowest; in a trace it tells the lowest TTL that was enough
    answered: bool = False  # the host sent an answer: SYN-ACK, RST, UDP datagram, ICMP
    came_from: str = ""  # the address it came from (NAT shows)
    hops: int | None = None
    dscp: int = 0
    mss: int = 0  # of a SYN; 0: not read
    altered: str = Altered.NOTHING  # an `Altered`


@dataclass(frozen=True, slots=True, kw_only=True)
class Untokened:
    """Packets to a probed port from outside the witness's environment that carried no token of the round: one flow.

    In a challenge the small flows of one address are one row: `flows` of at most `largest` packets, without a source port.
    What came from a source port that the round's key gives to a sweep by connect is one row, too, with all the `ports`.
    """

    address: str
    protocol: Protocol
    port: int
    came_from: str
    source_port: int
    count: int
    answered: bool = False
    times_ms: tuple[int, ...] = ()  # in a challenge: since the witness was armed
    flows: int = 1
    largest: int = 0
    ports: PortSet = PortSet()  # in place of `port`


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowded(_HasPorts):
    """Ports to which more came without a token than could be kept: nothing is known of what is not among the flows."""

    address: str
    protocol: Protocol
    ports: PortSet = PortSet()


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessHealth:
    """Whether the capture at one address could have seen a packet, over the whole window."""

    address: str
    healthy: bool
    why: str = ""  # what is wrong, in words
    off_host: int = 0  # packets from other hosts to this very address that the capture saw
    bound_tcp: PortSet = PortSet()  # ports with a listening socket that this address reaches
    bound_udp: PortSet = PortSet()
    noports: int = 0  # how far `Udp: NoPorts` of this family moved
    udp_unbound: int = 0  # UDP datagrams captured to ports of this address without a socket, tokened or not
    drops_still: bool = True  # ListenOverflows, ListenDrops, reverse-path and MD5 counters stood still
    missed: int = 0  # packets, at most, that the host lost before any capture and its own stack could have them


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPortsGroup:
    """One group of UDP ports of a NoPorts round: copies that arrived and how far the counter moved meanwhile."""

    target: int
    ports: PortSet
    arrived: int
    moved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessReport:
    """All that a witness saw of a round."""

    round: str
    agent: str
    arrivals: tuple[ArrivalRow, ...] = ()
    untokened: tuple[Untokened, ...] = ()
    crowded: tuple[Crowded, ...] = ()
    health: tuple[WitnessHealth, ...] = ()
    groups: tuple[NoPortsGroup, ...] = ()
    late: bool = False  # a correction: copies that came in after the round was closed
    problems: tuple[str, ...] = ()
    armed_ms: float = 0.0  # how long it took until the capture had shown itself to work
    listened_s: float = 0.0  # from when it was asked to listen until this report
    kept: tuple[KeptPacket, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What a name of another environment resolved to at an agent; empty addresses: `problem` says why."""

    name: str
    addresses: tuple[str, ...] = ()
    problem: str = ""
