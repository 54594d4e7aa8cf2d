"""The life of a finding as a table, and what a round does to it. See `reachability.finding` for the book of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import assert_never

from reachability.compare import Cell
from reachability.fold import Fold, Kind, Region
from reachability.ports import PortSet, text_of
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


Step = tuple[Finding, tuple[Event, ...]]


def advanced(finding: Finding, fold: Fold, unsettled: tuple[Region, ...], at: float, confirm: int) -> Step:
    """A finding or suspicion that is seen now, as `fold`; its `unsettled` cells are neither open nor closed now."""
    counted = fold.rounds.isdisjoint(finding.rounds)
    after = replace(_shaped(finding, fold, unsettled), seen=finding.seen + counted, clean=0)
    if counted:
        after = replace(after, rounds=tuple(sorted(fold.rounds)), recent=_remembered(finding, RED))
    held = after.seen >= confirm or after.flapping or _stands_alone(fold)
    happening = _happening(finding.status, bool(fold.waiver), held, counted)
    status = TRANSITIONS.get((finding.status, happening), finding.status) if happening else finding.status
    events = []
    if status is not finding.status:
        after = replace(after, status=status)
        events.append(Event(at=at, finding=finding.id, what=CAME_TO[status], text=_what(after)))
    elif after.live and (finding.ports, finding.addresses, finding.agents) != (
        after.ports,
        after.addresses,
        after.agents,
    ):
        text = f"{_what(finding)} is now {_what(after)}"
        events.append(Event(at=at, finding=finding.id, what=EventKind.CHANGED, text=text))
    return after, tuple(events)


def receded(finding: Finding, cells: Sequence[Cell], at: float, confirm: int, gone: str) -> Step | None:
    """A finding none of whose cells is open now; None for a suspicion of which nothing is left to remember.

    `cells` are the current ones at its place: all pass, or fail otherwise; none where they have left the plan, and `gone`
    says how that came.
    """
    rounds = {cell.judged.round for cell in cells if cell.judged is not None}
    counted = bool(rounds) and rounds.isdisjoint(finding.rounds)
    after = finding
    if counted:
        clean, recent = finding.clean + 1, _remembered(finding, CLEAN)
        after = replace(finding, clean=clean, rounds=tuple(sorted(rounds)), recent=recent)
    match finding.status:
        case Status.RESOLVED:
            return (after if RED in finding.recent else finding), ()
        case Status.SUSPECTED:
            forgotten = not cells or RED not in after.recent
            return None if forgotten else (replace(after, seen=0), ())
        case Status.OPEN | Status.CONFIRMED | Status.ACKNOWLEDGED | Status.WAIVED | Status.REOPENED:
            pass
        case _:
            assert_never(finding.status)
    redeclared = all(cell.declared is not finding.declared for cell in cells)
    in_run = any(cell.judged is not None and cell.judged.run for cell in cells)
    proven = after.clean >= confirm or (in_run and counted)
    if after.flapping:
        proven = after.clean >= max(confirm, FLAPPING_CLEAN)
    if not (redeclared or proven):
        return after, ()
    status = TRANSITIONS.get((finding.status, Happening.PROVEN), finding.status)
    after = replace(after, status=status, resolved_at=at, seen=0)
    return after, (
        Event(at=at, finding=finding.id, what=EventKind.RESOLVED, text=gone or _why_over(cells, redeclared)),
    )


def _remembered(finding: Finding, conclusion: str) -> str:
    return (finding.recent + conclusion)[-RECENT:]


def _stands_alone(fold: Fold) -> bool:
    """Whether one round is enough: it is a verify run's, or shows that the endpoint itself answered what is denied."""
    return any(
        judged.run or (fold.kind is Kind.UNEXPECTED_PATH and judged.verdict.row in POSITIVE) for judged in fold.judged
    )


def _happening(status: Status, waived: bool, held: bool, counted: bool) -> Happening | None:
    if waived:
        return Happening.WAIVED
    match status:
        case Status.WAIVED:
            return Happening.WAIVER_ENDED
        case Status.SUSPECTED | Status.RESOLVED:
            return Happening.HELD if held else None
        case Status.OPEN | Status.CONFIRMED | Status.ACKNOWLEDGED | Status.REOPENED:
            return Happening.SEEN_AGAIN if counted else None
        case _:
            assert_never(status)


def _shaped(finding: Finding, fold: Fold, unsettled: tuple[Region, ...]) -> Finding:
    best = fold.judged[0]
    return replace(
        finding,
        agents=fold.agents,
        source_addresses=fold.source_addresses,
        addresses=fold.addresses,
        protocol=fold.protocol,
        ports=fold.ports,
        declared=fold.declared,
        services=fold.services,
        regions=(*fold.regions, *unsettled),
        cells=fold.count,
        shown=tuple(sorted(fold.rounds)[-MOST_SHOWN:]),
        last_seen=max(judged.observed_at for judged in fold.judged),
        state=best.evidence.state,
        why=best.evidence.reason,
        reachability=best.verdict.reachability,
        proof=best.verdict.proof,
        reason=best.verdict.reason,
        identified=best.evidence.note,
        waiver=fold.waiver,
        path=fold.path,
    )


def _what(finding: Finding) -> str:
    ports = text_of(finding.ports)
    where = f"{finding.protocol}/{ports}" if ports else finding.protocol.value
    return f"{finding.source} → {finding.destination} {', '.join(finding.addresses)} {where}"


def _why_over(cells: Sequence[Cell], redeclared: bool) -> str:
    if redeclared:
        paths = sorted({cell.path.name for cell in cells if cell.path is not None})
        return f"now declared by {', '.join(paths)}" if paths else "no longer declared"
    shown = dict.fromkeys(
        f"{cell.judged.verdict.reachability} ({cell.judged.verdict.proof})" for cell in cells if cell.judged is not None
    )
    return f"proven {', '.join(shown)}"
