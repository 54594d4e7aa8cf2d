"""The life of a finding as a table. See `reachability.steps` for what a round does to it, `finding` for the book of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from reachability.fold import Kind, Region
from reachability.ports import PortSet
from reachability.vocabulary import Declared, Proof, Protocol, Reachability, Reason, State

MOST_SHOWN = 16  # rounds, the newest, of a finding that many agents see
POSITIVE = frozenset(
    {1, 2, 5}
)  # rows of the verdict's table: the endpoint answered, which no silence elsewhere takes back
RECENT, FLAPS = 8, 3  # so many conclusions are remembered; so many changes among them are flapping
RED, CLEAN = "x", "."
FLAPPING_CLEAN = 2  # rounds in a row that resolve what flaps, at least: one is what it does anyway


class Status(StrEnum):
    """Where a finding is in its life. `suspected` comes before it: seen, but not yet often enough to open."""

    SUSPECTED = "suspected"
    OPEN = "open"
    CONFIRMED = "confirmed"
    ACKNOWLEDGED = "acknowledged"
    WAIVED = "waived"
    RESOLVED = "resolved"
    REOPENED = "reopened"


class Happening(StrEnum):
    """What moves a finding on."""

    HELD = "held"  # seen in as many rounds in a row as `confirm` asks, or in a verify run; positively proven; flapping
    SEEN_AGAIN = "seen-again"  # seen in a further round
    ACKNOWLEDGED = "acknowledged"  # a person took it on
    WAIVED = "waived"  # a waiver covers all of it
    WAIVER_ENDED = "waiver-ended"
    PROVEN = "proven"  # every cell of it passes, with proof, in as many rounds in a row as `confirm` asks


# What is not here does not change the status.
TRANSITIONS: Mapping[tuple[Status, Happening], Status] = {
    (Status.SUSPECTED, Happening.HELD): Status.OPEN,
    (Status.SUSPECTED, Happening.WAIVED): Status.WAIVED,
    (Status.OPEN, Happening.SEEN_AGAIN): Status.CONFIRMED,
    (Status.OPEN, Happening.ACKNOWLEDGED): Status.ACKNOWLEDGED,
    (Status.OPEN, Happening.WAIVED): Status.WAIVED,
    (Status.OPEN, Happening.PROVEN): Status.RESOLVED,
    (Status.CONFIRMED, Happening.ACKNOWLEDGED): Status.ACKNOWLEDGED,
    (Status.CONFIRMED, Happening.WAIVED): Status.WAIVED,
    (Status.CONFIRMED, Happening.PROVEN): Status.RESOLVED,
    (Status.ACKNOWLEDGED, Happening.WAIVED): Status.WAIVED,
    (Status.ACKNOWLEDGED, Happening.PROVEN): Status.RESOLVED,
    (Status.WAIVED, Happening.WAIVER_ENDED): Status.REOPENED,
    (Status.WAIVED, Happening.PROVEN): Status.RESOLVED,
    (Status.RESOLVED, Happening.HELD): Status.REOPENED,
    (Status.RESOLVED, Happening.WAIVED): Status.WAIVED,
    (Status.REOPENED, Happening.SEEN_AGAIN): Status.CONFIRMED,
    (Status.REOPENED, Happening.ACKNOWLEDGED): Status.ACKNOWLEDGED,
    (Status.REOPENED, Happening.WAIVED): Status.WAIVED,
    (Status.REOPENED, Happening.PROVEN): Status.RESOLVED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A fold of failing cells with its life so far. Times are epoch seconds; it can be stored as it stands."""

    id: str
    kind: Kind
    status: Status
    source: str  # environment
    destination: str
    agents: tuple[str, ...]
    source_addresses: tuple[str, ...]
    addresses: tuple[str, ...]
    protocol: Protocol
    ports: PortSet
    declared: Declared
    services: tuple[str, ...]
    regions: tuple[Region, ...]  # what must pass before it resolves
    cells: int  # that failed when it was last seen
    first_seen: float
    last_seen: float
    state: State = State.ERROR
    why: Reason = Reason.LOCAL_ERROR
    reachability: Reachability = Reachability.UNKNOWN
    proof: Proof = Proof.NONE
    reason: str = ""
    identified: str = ""  # what answered there, in its own words
    waiver: str = ""
    path: str = ""
    rounds: tuple[str, ...] = ()  # that were counted last
    shown: tuple[str, ...] = ()  # that showed it last: what they kept is its evidence
    seen: int = 0  # rounds in a row
    clean: int = 0  # rounds in a row that proved it closed
    recent: str = (
        ""  # its last conclusions, the newest last: RED or CLEAN; a round that proved nothing is not among them
    )
    resolved_at: float = 0.0
    acknowledged_by: str = ""
    acknowledged_reason: str = ""
    merged_into: str = ""

    @property
    def listed(self) -> bool:
        """Whether it is shown: it has opened, and no older one took it over."""
        return self.status is not Status.SUSPECTED and not self.merged_into

    @property
    def suspected(self) -> bool:
        """Whether its last round showed it, but it has not opened."""
        return self.status is Status.SUSPECTED and self.seen > 0

    @property
    def live(self) -> bool:
        """Whether it stands: listed, and not resolved."""
        return self.listed and self.status is not Status.RESOLVED

    @property
    def changes(self) -> int:
        """How often it went from failing to proven closed, or back, within its last conclusions."""
        return sum(one != other for one, other in pairwise(self.recent))

    @property
    def flapping(self) -> bool:
        """Whether it comes and goes: part of the flows, or of the time, finds it open."""
        return self.changes >= FLAPS


class EventKind(StrEnum):
    """What is put into the history: of a finding, of an agent's right to take part, of all probing."""

    OPENED = "opened"
    CONFIRMED = "confirmed"
    ACKNOWLEDGED = "acknowledged"
    WAIVED = "waived"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    MERGED = "merged"
    CHANGED = "changed"
    REVOKED = "revoked"
    RENEWED = "renewed"
    CUT = "cut"
    LET_IN = "let in"
    STOPPED = "stopped"
    RESUMED = "resumed"
    IN_BLACKOUT = "probed in a blackout"


# What it is called that a finding came to a status. None goes back to being suspected.
CAME_TO: Mapping[Status, EventKind] = {
    Status.OPEN: EventKind.OPENED,
    Status.CONFIRMED: EventKind.CONFIRMED,
    Status.ACKNOWLEDGED: EventKind.ACKNOWLEDGED,
    Status.WAIVED: EventKind.WAIVED,
    Status.RESOLVED: EventKind.RESOLVED,
    Status.REOPENED: EventKind.REOPENED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change in the life of a finding, or of an agent's right to take part, for the history and for alerts."""

    at: float  # epoch seconds
    finding: str  # "" of what happened to an agent
    what: EventKind
    text: str = ""
    by: str = ""
    agent: str = ""
