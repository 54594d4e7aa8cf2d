"""What a round does to a finding: it is seen in it, or the round shows all of it closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from reachability.compare import Cell
from reachability.fold import Fold, Kind, Region
from reachability.life import CAME_TO, CLEAN, RED, TRANSITIONS, Event, EventKind, Finding, Happening, Status
from reachability.ports import text_of

MOST_SHOWN = 16  # rounds, the newest, of a finding that many agents see
POSITIVE = frozenset(
    {1, 2, 5}
)  # rows of the verdict's table: the endpoint answered, which no silence elsewhere takes back
RECENT = 8  # conclusions that are remembered
FLAPPING_CLEAN = 2  # rounds in a row that resolve what flaps, at least: one is what it does anyway

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
