"""How the coordinator and its agents are: status, what was lost, what happened; and what says that a request failed."""

from __future__ import annotations

import msgspec

from coordinator.api.responses.estate import Counts
from coordinator.api.responses.words import (
    SensitivityWord,
    Time,
)


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Any answer with a status of 400 and more: what is wrong, in a sentence for people."""

    error: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """`/healthz`: `ok`, or `degraded` (with status 503) while the broker is away or the store cannot be written."""

    status: str
    broker: bool
    store: bool


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser may: `reads` without a token, too. `csrf` goes with each change, as the header of that name; null for none."""

    logged_in: bool
    reads: bool
    header: str
    csrf: str | None


class Losses(msgspec.Struct, frozen=True, kw_only=True):
    """Reports that were lost on their way: made from when to when (null: not known, or none), and why.

    `why` has words of bytes, age, disk, size (the agent says so) and gone (it says nothing).
    """

    batches: int
    reports: int
    since: Time | None = msgspec.field(name="from")
    until: Time | None = msgspec.field(name="to")
    why: tuple[str, ...]


class AgentLosses(Losses, frozen=True, kw_only=True):
    """`untold`: batches that the agent has just lost, and the store does not count yet."""

    untold: int


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate that an agent used last, or one of the coordinator's own.

    `days` may be negative; `soon`: its end is to be shown.
    """

    expires: Time | None
    days: float
    soon: bool


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as the coordinator knows it. `state` is connected, lost, missing (never heard of) or revoked.

    `raw`: it may send raw packets; `lacks` says why not. `spooled` are batches that wait at it. `refused` has the newest of
    what it did not obey, `refusals` how many there were; `problem` says why what comes from it is not taken. `two_holders`:
    more than one process lives under its name, so that nothing of it is proven. `clock_skew_s` is its clock less the
    coordinator's; `age_s` how long ago its last round ended. Null: none, or not known. `names_apart`: DNS names that lead
    elsewhere for it than for others, in words that say who saw what. `stop`, while all probing is stopped: `confirmed` (it says
    that all of its own has ended since), `not yet`, or `unable` (its version does not say). `not_now`: why it sends nothing.
    `ca`: of which CA its certificate is, by the beginning of that one's SHA-256; `rotation`, while two CAs are trusted: what it
    lacks to have come over to the new one (`unheard`, `version`, `certificate` or `trust`).
    """

    name: str
    environment: str
    state: str
    addresses: tuple[str, ...]
    version: str | None
    raw: bool
    lacks: str | None
    rate_pps: int
    spooled: int
    lost: AgentLosses
    refused: tuple[str, ...]
    refusals: int
    problem: str | None
    last_seen: Time | None
    clock_skew_s: float | None
    age_s: float | None
    certificate: Certificate | None
    names_apart: tuple[str, ...] = ()
    two_holders: bool = False
    stop: str | None = None
    not_now: str | None = None
    ca: str | None = None
    rotation: str | None = None


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Sequences `first` to `last` of an agent's spool that are lost; null where gaps of several spools were folded."""

    agent: str
    environment: str | None
    spool: str | None
    first: int | None
    last: int | None
    batches: int
    reports: int
    since: Time | None = msgspec.field(name="from")
    until: Time | None = msgspec.field(name="to")
    why: tuple[str, ...]
    noticed: Time | None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a finding, or to an agent's certificate: the other of the two is null.

    `by` is null where nobody did it; `severity` where there is no such finding any more.
    """

    at: Time | None
    finding: str | None
    agent: str | None
    what: str
    text: str
    by: str | None
    severity: SensitivityWord | None


class TopologyFile(msgspec.Struct, frozen=True, kw_only=True):
    """The topology in force. `digest` is the SHA-256 of the file's bytes, in hex."""

    file: str
    digest: str


class TopologyInForce(TopologyFile, frozen=True, kw_only=True):
    """The same, with the names of its environments."""

    environments: tuple[str, ...]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at this moment, `now`. `coverage` is the proven share of what is required, 0..1; `findings` how many stand.

    `last_cycle` is when a cell was last observed, `oldest_proof` when the one that was shown longest ago of those that are proven;
    null for never.
    """

    now: Time | None
    topology: TopologyInForce
    agents: tuple[Agent, ...]
    results: Counts
    coverage: float
    findings: int
    last_cycle: Time | None
    oldest_proof: Time | None = None


class RefusedTopology(msgspec.Struct, frozen=True, kw_only=True):
    """A topology file that was not accepted: the one before it is still in force."""

    at: Time | None
    errors: tuple[str, ...]


class StoreState(msgspec.Struct, frozen=True, kw_only=True):
    """Why the store cannot be written; null when it can."""

    problem: str | None


class BrokerLack(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the broker does not do, and segwatch can do without."""

    name: str
    text: str


class BrokerState(msgspec.Struct, frozen=True, kw_only=True):
    """The broker: `embedded` or `external`. `problem` is null while all is well, `lacks` until it was tried."""

    kind: str
    connected: bool
    problem: str | None
    lacks: tuple[BrokerLack, ...] | None


class Flood(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that sent more than it may: how often it was cut off, and for how long still; null when it is not now."""

    agent: str
    cuts: int
    dropped: int
    out_for_s: float | None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of agents that were not taken; `newest` has some causes, the newest last."""

    count: int
    newest: tuple[str, ...]


class Status(Standing, frozen=True, kw_only=True):
    """What stands, and how the coordinator itself is.

    `stopped` says why all probing is stopped, null when it is not; `topology_refused` is null when the file that is there is
    in force; `web` is where it serves its page, null for nowhere. `certificates` are the coordinator's own, by who shows them:
    ca, coordinator, broker, web.
    """

    version: str
    started: Time | None
    topology_loaded: Time | None
    topology_refused: RefusedTopology | None
    store: StoreState
    broker: BrokerState
    stopped: str | None
    stopped_at: Time | None
    stopped_by: str | None
    floods: tuple[Flood, ...]
    refused: Refused
    web: str | None
    certificates: dict[str, Certificate] = {}
