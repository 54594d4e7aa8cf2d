"""The messages between coordinator and agent, as they are encoded; see `wire.envelope` for what is put around them.

Down: `Plan`, then for each round `Arm`, `Go`, `Close`; `Stop`; `Ack`; `Renewed`. Up: `Status`, `Armed`, `Done`,
`Resolved`, `Renew` and batches of reports. Unknown fields are ignored; a field that is added needs a default.
"""

from __future__ import annotations

import msgspec

from reachability.arrival import WitnessReport
from reachability.observation import ControlTarget, Lookup, SourceReport, Target
from reachability.ports import PortSet
from reachability.vocabulary import RoundKind

SCHEMA = 1
VERSION = "0.1.0"  # as pyproject.toml has it; importlib.metadata would cost an idle agent 3 MiB


class Plan(msgspec.Struct, frozen=True, kw_only=True, tag="plan"):
    """How hard an agent may send, by the topology of this digest; said again and again, as a lease.

    `lease_s`, in `Arm` and `Go` too: for so long from now packets may be sent; then the agent stops by itself, until it
    hears another one. 0: no lease, the coordinator is older. Below 0: it is over now.
    """

    digest: str
    rate_pps: int = 1000
    flows: int = 50_000  # entries in connection tables at a time
    lease_s: float = 0.0
    trust: str = (
        ""  # which CAs are trusted, see `wire.certificates`: an agent that trusts others asks for its renewal soon
    )


MOST_NAMES = 256  # in one `Resolve`: an agent looks no more of them up


class Resolve(msgspec.Struct, frozen=True, kw_only=True, tag="resolve"):
    """Asks a source to look names up before a round; answered by `Resolved`. More than `MOST_NAMES` are asked for in parts."""

    id: str
    names: tuple[str, ...]


class Arm(msgspec.Struct, frozen=True, kw_only=True, tag="arm"):
    """Asks a witness to listen and an inside control to get ready (it starts at once); answered by `Armed`."""

    round: str
    key: bytes  # 16 random bytes
    kind: RoundKind
    source: str  # agent
    targets: tuple[Target, ...] = ()  # to listen for
    inside: tuple[Target, ...] = ()  # to probe from inside
    networks: tuple[str, ...] = ()  # the witness's environment: arrivals from there are not the source's
    groups: tuple[tuple[int, PortSet], ...] = ()  # NoPorts rounds: (target id, ports), in the order they are sent
    ttl_s: float = 600.0  # disarm without being told after this long
    connects: bool = True  # the source may sweep by connect: nothing of that carries a token
    lease_s: float = 0.0


class Go(msgspec.Struct, frozen=True, kw_only=True, tag="go"):
    """Starts the source; answered by a report in the observations and `Done`."""

    round: str
    key: bytes
    kind: RoundKind
    targets: tuple[Target, ...]
    networks: tuple[str, ...] = ()  # the source's own environment
    controls: tuple[ControlTarget, ...] = ()
    copies: int = 4  # at least
    most_copies: int = 48
    groups: tuple[tuple[int, PortSet], ...] = ()
    rate_pps: int = 0  # at most, in this round; 0: the agent's own
    spread_s: float = 0.0  # a sweep's last copies leave so long after its first ones
    lease_s: float = 0.0


class Close(msgspec.Struct, frozen=True, kw_only=True, tag="close"):
    """Ends a round at a witness or inside control; answered by a report in the observations.

    `again`: the source was heard to be done, so that an inside control asks once more what answered it before.
    """

    round: str
    again: bool = False


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag="stop"):
    """Ends every round and all probing, at once."""

    reason: str = ""


class Renewed(msgspec.Struct, frozen=True, kw_only=True, tag="renewed"):
    """Answers `Renew`: the certificate (PEM) and the CAs to trust from now on (PEM; b"": the same), or why there is none."""

    certificate: bytes = b""
    trust: bytes = b""
    problem: str = ""


Down = Plan | Resolve | Arm | Go | Close | Stop | Renewed


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag="ack"):
    """The store holds every batch of the spool up to and including `sequence`."""

    spool: str
    sequence: int


class Status(msgspec.Struct, frozen=True, kw_only=True, tag="status"):
    """Retained: who the agent is and what it can do. The last will is the same with `online` false."""

    name: str
    environment: str
    online: bool
    version: str = ""
    schema: int = SCHEMA
    instance: str = ""  # new at each start
    addresses: tuple[str, ...] = ()  # its own, without loopback and link-local
    raw: bool = False  # can send and capture raw packets
    lacks: str = ""  # why not, in words
    rate_pps: int = 0
    flows: int = 0  # its own bound; 0: none
    spooled: int = 0  # batches not yet acknowledged
    lost: int = 0  # batches that a full or old spool dropped, or the disk did not take, since it was made: gaps
    untold: int = 0  # of these, the ones whose gap is not acknowledged yet
    refused: tuple[str, ...] = ()  # the newest refusals of what came down, in words
    refusals: int = 0  # how many there were since the start
    sent_at: float = 0.0  # the agent's clock, seconds since the epoch; shown, never trusted
    traces: bool = False  # it knows rounds of kind trace: an older version would not read the order
    number: int = 0  # rises with each status of an instance: an older one that comes later is old news
    challenge: bytes = b""  # to be repeated by what is sent to it: see `agent.challenges`
    certificate: bytes = b""  # its own, DER
    key: bytes = b""  # Ed25519, public: by it what it sends is known
    proof: bytes = b""  # the certificate's key signed that key (ECDSA, SHA-256)
    certificate_from: float = 0.0  # the one that it connects with, seconds since the epoch; 0: not said
    certificate_until: float = 0.0
    generation: int = -1  # of that certificate, see `wire.certificates`; -1: not said
    connections: int = 0  # to the broker since the start: what was sent down while one gave way to the next is lost
    stopped: int = -1  # sequence of the newest `Stop` of which all probing has ended; 0: none yet; -1: not said
    ca: str = ""  # which CA that certificate is of, and which ones it trusts, see `wire.certificates`; "": not said
    trust: str = ""
    not_now: str = ""  # why it sends nothing just now, whatever it is told, in words


class Resolved(msgspec.Struct, frozen=True, kw_only=True, tag="resolved"):
    """Answers `Resolve`."""

    id: str
    lookups: tuple[Lookup, ...]


class Armed(msgspec.Struct, frozen=True, kw_only=True, tag="armed"):
    """The participant is ready; or it is not, and `problems` says why."""

    round: str
    agent: str
    ok: bool
    problems: tuple[str, ...] = ()
    instance: str = ""  # as the status has it


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """The source has sent its last packet and spooled its report, as batch `sequence`."""

    round: str
    agent: str
    sequence: int
    tail_s: float = 2.0  # how long the witnesses must listen on: max(2 s, 4 x RTT), less what has passed
    ok: bool = True
    problems: tuple[str, ...] = ()
    instance: str = ""


class Renew(msgspec.Struct, frozen=True, kw_only=True, tag="renew"):
    """Asks for a certificate for a key that the agent has just made and keeps to itself; answered by `Renewed`."""

    request: bytes  # PKCS #10 in DER, signed with that key


Up = Resolved | Armed | Done | Renew


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Sequences of a spool, `first` to `last`, that it dropped or could not keep. What the store holds of them is not a gap.

    The ages are those of the oldest and the newest report in it, at sending.
    """

    first: int
    last: int
    reports: int
    why: str  # of bytes, age, disk and size those that it was, joined by commas
    begun_age_s: float
    ended_age_s: float


class Batch(msgspec.Struct, frozen=True, kw_only=True, tag="batch"):
    """One spooled batch of reports. `age_s` is how old it is at sending, on the agent's monotonic clock.

    `oldest` is the lowest sequence that the spool still holds, or has a gap for: what the store lacks below it is lost
    too, and the cumulative `Ack` goes over it. A gap travels as a batch without reports under its last sequence.
    """

    spool: str
    sequence: int
    age_s: float
    oldest: int = 1
    sources: tuple[SourceReport, ...] = ()
    witnesses: tuple[WitnessReport, ...] = ()
    gaps: tuple[Gap, ...] = ()
