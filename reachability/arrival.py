"""What a witness saw of a round: where copies arrived, what came without a token, its health. Facts, no judgement.

Every class here travels on the wire as those of `reachability.observation` do: a field that is added needs a default.
"""

from __future__ import annotations

from dataclasses import dataclass

from reachability.observation import HasPorts, KeptPacket
from reachability.ports import PortSet
from reachability.vocabulary import Altered, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalRow(HasPorts):
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
class Crowded(HasPorts):
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
    delivered: int | None = None  # how far its datagrams to sockets of any port moved (InDatagrams, InErrors, queues)
    forwarded: int | None = None  # and what it handed on to other hosts or containers (`Ip: ForwDatagrams`)
    forwards: bool | None = None  # whether the host hands packets on at all; None: an older agent does not say
    missed: int = 0  # packets, at most, that the host lost before any capture and its own stack could have them


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterSlot:
    """A stretch of a NoPorts round: the copies of a group that arrived (none: it is off), and how far counters moved meanwhile."""

    seconds: float
    arrived: int = 0
    noports: int = 0
    delivered: int = 0
    forwarded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPortsGroup:
    """One group of ports of a NoPorts round: copies that arrived, and how far NoPorts moved meanwhile; slot by slot, too.

    `ports` are those of which enough copies arrived. An older agent has no slots, and tells nothing then.
    """

    target: int
    ports: PortSet
    arrived: int
    moved: int
    slots: tuple[CounterSlot, ...] = ()


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
    instance: str = ""  # of the process that made it, as a source's
