"""The fixed words of the product: every state, reason, reachability, proof and result that can be shown."""

from enum import StrEnum


class Protocol(StrEnum):
    """What is probed; ICMP has no port (ICMPv6 echo for an IPv6 address)."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"


# What a firewall may let through as well, and no probe tries, by IANA's names (protocol-numbers).
NOT_TESTED = ("sctp", "dccp", "udplite", "gre", "esp", "ah", "ipip", "igmp", "ospf", "vrrp")


class State(StrEnum):
    """Port state as the source saw it, in nmap's words."""

    OPEN = "open"
    CLOSED = "closed"
    FILTERED = "filtered"
    OPEN_FILTERED = "open|filtered"
    ERROR = "error"


class Reason(StrEnum):
    """Why a port has its state. What the classifier does not know is `local-error`, with state `error`."""

    SYN_ACK = "syn-ack"
    RESET = "reset"
    NO_RESPONSE = "no-response"
    UDP_RESPONSE = "udp-response"
    PORT_UNREACH = "port-unreach"
    HOST_UNREACH = "host-unreach"
    NET_UNREACH = "net-unreach"
    PROTO_UNREACH = "proto-unreach"
    ADMIN_PROHIBITED = "admin-prohibited"
    ECHO_REPLY = "echo-reply"
    TTL_EXCEEDED = "ttl-exceeded"
    RESOLVE_FAILED = "resolve-failed"
    NO_PERMISSION = "no-permission"
    NO_ROUTE = "no-route"
    NO_NEIGHBOUR = "no-neighbour"
    OWN_NETWORK = "own-network"
    OWN_HOST = "own-host"
    NOT_ALLOWED = "not-allowed"
    CONN_REFUSED = "conn-refused"
    LOCAL_FILTER = "local-filter"
    LOCAL_ERROR = "local-error"


class Arrival(StrEnum):
    """What the witness at the destination says of a packet."""

    SEEN = "seen"
    NOT_SEEN = "not-seen"
    NO_WITNESS = "no-witness"


class Canary(StrEnum):
    """What a port of the target's host that nobody serves did, before the round and after it."""

    NOT_SENT = ""
    CLEAR = "clear"  # closed or silent, both times
    OPEN = "open"  # everything there seems open
    UNKNOWN = "unknown"


class Reachability(StrEnum):
    """What was concluded from observation, arrival and controls."""

    REACHABLE = "reachable"
    ONE_WAY = "one-way"
    BLOCKED = "blocked"
    BLOCKED_AT_HOST = "blocked-at-host"
    NO_SESSION = "no-session"
    UNKNOWN = "unknown"


class Proof(StrEnum):
    """What a reachability stands on."""

    REPLIED = "replied"
    INFERRED = "inferred"
    WITNESSED = "witnessed"
    CONTROLLED = "controlled"
    REFUSED = "refused"
    NONE = "none"


class Unproven(StrEnum):
    """Why nothing is proven of a cell, where it is not the `Reason` of an error; `reachability.advice` has the sentences."""

    TWO_HOLDERS = "two-holders"
    SILENT_INSIDE = "silent-inside"
    INSIDE_ONCE = "inside-once"
    NO_INSIDE_CONTROL = "no-inside-control"
    CLOSED_INSIDE = "closed-inside"
    NO_SOURCE_CONTROL = "no-source-control"
    CONTROLS_STOPPED = "controls-stopped"
    HEARD_IN_PART = "heard-in-part"
    MAYBE_DELIVERED = "maybe-delivered"
    MAY_BE_HANDED_ON = "may-be-handed-on"
    LOSS = "loss"
    SPREAD = "spread"
    LEGS = "legs"
    UNDECIDED = "undecided"
    ANSWERS_FOR_ALL = "answers-for-all"
    ANSWERED_ELSEWHERE = "answered-elsewhere"
    NO_CANARY = "no-canary"
    REFUSED_BY_SOMEONE = "refused-by-someone"
    WHO_CLOSED_IT = "who-closed-it"
    REFUSED_BY_ENDPOINT = "refused-by-endpoint"
    NOT_SENT = "not-sent"
    RESOLVED_ELSEWHERE = "resolved-elsewhere"


class Unanswered(StrEnum):
    """What is known of a packet that arrived, and to which the source had no answer."""

    ANSWER_LOST = "answer-lost"  # its host sent one
    HOST_SILENT = "host-silent"  # its host stopped it, or has nothing there
    NO_ANSWER = "no-answer"


class Declared(StrEnum):
    """What the topology says of a cell."""

    DENIED = "denied"
    ALLOWED = "allowed"
    REQUIRED = "required"


class Result(StrEnum):
    """Reachability compared with the declaration."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    WAIVED = "waived"
    INCONCLUSIVE = "inconclusive"
    STALE = "stale"
    NOT_RUN = "not-run"


class Sensitivity(StrEnum):
    """How much harm a breach of the environment does, in rising order."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Require(StrEnum):
    """What a denied cell into an environment must show to pass."""

    NO_SESSION = "no-session"
    NO_PACKET = "no-packet"


class PacketRole(StrEnum):
    """The role of a kept packet in its cell's exchange, and on which side it was seen."""

    SENT = "sent"  # the source's own capture saw it leave
    ARRIVED = "arrived"  # at the witness, with a token
    ANSWERED = "answered"  # the witness's host sent it
    CAME_BACK = "came-back"  # to the source
    STRANGE = "strange"  # came to the witness from outside, without a token
    INSTEAD = "instead"  # from another host, to the address: what shows that the witness's capture works


class RoundKind(StrEnum):
    """What a round is for: the cells themselves, or one of the follow-ups that settle what it left open; or a trace."""

    NORMAL = "normal"
    CHALLENGE = "challenge"  # keyed on and off slots: are the packets without a token ours?
    NOPORTS = "noports"  # groups in slots, against the host's counters: `Udp: NoPorts` and what tells of delivery
    TRACE = "trace"  # by which hops, and how far, the packets of one cell go: for people, no evidence of any cell


class Schedule(StrEnum):
    """What has a round run: one of the two schedules (a verify run goes by them too), or a person."""

    CYCLE = "cycle"  # services' and catalogue ports
    SWEEP = "sweep"  # the others
    TRACE = "trace"
    TRY = "try"  # `segwatch try`, which has no coordinator


class Role(StrEnum):
    """As what an agent sent the packets that a report is about."""

    SOURCE = "source"
    INSIDE = "inside"  # the control from inside the destination's environment


# -- words that another host fills in -------------------------------------------------------------------------------
# Their fields are texts: one word that a newer version adds must not cost the report, or the order, that it is in.


class NameOrigin(StrEnum):
    """Where an agent's host has the addresses of a name from: the `origin` of a `Lookup`."""

    HOSTS_FILE = "hosts-file"
    DNS = "dns"
    OTHER = "other"  # another source of nsswitch.conf: DNS does not know the name


class SentBy(StrEnum):
    """How the packets of an observation were sent: its `way`."""

    NOTHING = ""  # none was sent
    RAW = "raw"
    RING = "ring"  # raw too, through a packet ring
    CONNECT = "connect"  # through the kernel alone
    RAW_AND_CONNECT = "raw+connect"


class KernelAnswer(StrEnum):
    """What the kernel's own try of a port got."""

    NOT_TRIED = ""
    OPEN = "open"
    SILENT = "silent"
    REFUSED = "refused"
    NOT_SENT = "not-sent"  # it did not leave this host
    ERROR = "error"


class ControlKind(StrEnum):
    """Why a source control is expected to answer. A kind that is not known is one like `declared`."""

    COORDINATOR = "coordinator"
    DECLARED = "declared"  # a path that the topology declares leads to it
    PAIR = "pair"  # of the pair under test: it has just answered
    MEETING = "meeting"  # of a try: the destination's own
    OUTSIDE = "outside"  # of a try: a person names it


class Altered(StrEnum):
    """The half of a TCP packet's token that somebody on the way rewrote."""

    NOTHING = ""
    SEQUENCE = "sequence"
    TIMESTAMP = "timestamp"
