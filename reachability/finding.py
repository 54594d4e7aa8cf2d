"""The book of findings: one cause a person must look at is one finding, across restarts, sweeps and holes that grow."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from reachability.compare import Cell
from reachability.fold import Fold, Kind, Region, fold_findings
from reachability.life import TRANSITIONS, Event, EventKind, Finding, Happening, Status
from reachability.matrix import CellKey
from reachability.ports import PortSet
from reachability.steps import Step, advanced, receded
from reachability.vocabulary import Protocol, Result

__all__ = ["Event", "EventKind", "Finding", "FindingBook", "Fold", "Kind", "Region", "Status", "fold_findings"]

REOPEN_S = 7 * 86400.0  # a finding that comes back within this time after it was resolved is the same one


@dataclass(slots=True)
class _Estate:
    """The current cells, indexed for the questions that findings ask."""

    by_key: dict[CellKey, list[Cell]] = field(default_factory=dict)
    settled: dict[CellKey, PortSet] = field(default_factory=dict)  # they pass or fail
    untested: dict[tuple[str, str, Protocol], PortSet] = field(default_factory=dict)  # anywhere of a pair, so far

    @classmethod
    def of(cls, cells: Iterable[Cell]) -> _Estate:
        estate = cls()
        for cell in cells:
            key = cell.key
            estate.by_key.setdefault(key, []).append(cell)
            if cell.result in {Result.PASS, Result.FAIL, Result.WAIVED}:
                estate.settled[key] = estate.settled.get(key, PortSet()) | cell.ports
            elif cell.result is Result.NOT_RUN:
                place = _place(key)
                estate.untested[place] = estate.untested.get(place, PortSet()) | cell.ports
        return estate

    def unsettled(self, regions: Iterable[Region]) -> tuple[Region, ...]:
        """What of these neither passes nor fails now; ports that nothing asks for any more do neither.

        A host that has left the plan is waited for while the same ports are untested elsewhere between the two: it may have
        moved there.
        """
        left = []
        for region in regions:
            if region.key in self.by_key:
                rest = region.ports - self.settled.get(region.key, PortSet())
            else:
                rest = region.ports & self.untested.get(_place(region.key), PortSet())
            if rest:
                left.append(Region(region.key, rest))
        return tuple(left)

    def gone(self, finding: Finding) -> str:
        """Why the plan holds no cell of a finding any more."""
        agents = " and ".join(finding.agents)
        if finding.destination not in {key.destination for key in self.by_key}:
            return f"nothing in {finding.destination} is probed any more"
        left = [key for key in self.by_key if key.agent in finding.agents and key.destination == finding.destination]
        if not left:
            return f"{finding.destination} is not probed from {agents} any more"
        if any(key.address in finding.addresses for key in left):
            return (
                f"{finding.destination} is not probed from {', '.join(finding.source_addresses)} of {agents} any more"
            )
        return (
            f"{', '.join(finding.addresses)} of {finding.destination} is not probed any more: the topology does not name it, "
            "or a name or an agent has another address now, where it was tested"
        )

    def cells_of(self, regions: Iterable[Region]) -> list[Cell]:
        """The current cells that share a port with these."""
        return [cell for region in regions for cell in self.by_key.get(region.key, ()) if region.ports & cell.ports]


class FindingBook:
    """Every finding there is or recently was. `apply` it to the cells of the whole plan after each round."""

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        self._all = {finding.id: finding for finding in findings}

    def copy(self) -> FindingBook:
        """Another of its own, as it is now."""
        return FindingBook(self._all.values())

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, suspicions and merged ones too, the newest first. This is what is stored."""
        return tuple(sorted(self._all.values(), key=lambda finding: (-finding.first_seen, finding.id)))

    def get(self, name: str) -> Finding | None:
        """The finding of an id, or the one that took it over."""
        finding = self._all.get(name)
        while finding is not None and finding.merged_into:
            finding = self._all.get(finding.merged_into)
        return finding

    def apply(self, cells: Iterable[Cell], now: datetime, confirm: int) -> tuple[Event, ...]:
        """Take in what the cells of the whole plan say now.

        A finding opens, and resolves, after `confirm` rounds in a row said so; a verify run, which judges alone, is
        enough by itself, and an answer of what is denied opens one at once. It resolves only when every cell of it passes:
        never by going inconclusive, stale or not-run. What comes and goes is open until it stays away.
        """
        estate = _Estate.of(cells)
        folds = fold_findings(cell for group in estate.by_key.values() for cell in group)
        at, events = now.timestamp(), list[Event]()
        claimed = self._claim(folds, at, events)
        for index, fold in enumerate(folds):
            finding = claimed.get(index) or _suspicion(fold, at, self._all)
            claimed[index] = finding
            self._step(advanced(finding, fold, estate.unsettled(finding.regions), at, confirm), events)
        continued = {finding.id for finding in claimed.values()}
        for finding in list(self._all.values()):
            if finding.merged_into or finding.id in continued or estate.unsettled(finding.regions):
                continue
            cells = estate.cells_of(finding.regions)
            step = receded(finding, cells, at, confirm, "" if cells else estate.gone(finding))
            if step is None:
                del self._all[finding.id]  # it was not so
            else:
                self._step(step, events)
        return tuple(events)

    def acknowledge(self, name: str, by: str, reason: str, now: datetime) -> Event:
        """A person takes a finding on. KeyError for an unknown id, ValueError where its life does not allow it."""
        finding = self.get(name)
        if finding is None:
            raise KeyError(name)
        status = TRANSITIONS.get((finding.status, Happening.ACKNOWLEDGED))
        if status is None:
            raise ValueError(f"{finding.id} is {finding.status} and cannot be acknowledged")
        self._all[finding.id] = replace(finding, status=status, acknowledged_by=by, acknowledged_reason=reason)
        return Event(at=now.timestamp(), finding=finding.id, what=EventKind.ACKNOWLEDGED, text=reason, by=by)

    def forget(self, old: Collection[str]) -> bool:
        """Let go of the resolved ones among `old`, ids, and of those that they took over; whether any went."""
        over = {
            name
            for name, finding in self._all.items()
            if finding.status is Status.RESOLVED and name in old and not finding.merged_into
        }
        left = {
            name: finding
            for name, finding in self._all.items()
            if (heir := self.get(name)) is not None and heir.id not in over
        }
        went = len(left) < len(self._all)
        self._all = left
        return went

    def standing(self, old: Collection[str]) -> set[str]:
        """The rounds that showed the findings that stand, or may yet come back as the same; those of `old`, ids, may not."""
        return {
            name
            for finding in self._all.values()
            if not finding.merged_into and (finding.status is not Status.RESOLVED or finding.id not in old)
            for name in finding.shown
        }

    def _step(self, step: Step, events: list[Event]) -> None:
        finding, happened = step
        self._all[finding.id] = finding
        events.extend(happened)

    def _claim(self, folds: tuple[Fold, ...], at: float, events: list[Event]) -> dict[int, Finding]:
        """Which finding each fold continues: the oldest that shares a cell, one that was told before a suspicion.

        It takes the fold it shares most with.
        """
        claimed: dict[int, Finding] = {}
        places = Places(folds)
        for finding in sorted(self._all.values(), key=_by_age):
            over = finding.status is Status.RESOLVED and at - finding.resolved_at > REOPEN_S
            if finding.merged_into or over:
                continue
            shared = places.shared(finding)
            mine = sorted(shared)
            free = [index for index in mine if index not in claimed]
            if free:
                claimed[max(free, key=lambda index: shared[index])] = finding
            elif mine:
                older = claimed[mine[0]].id
                self._all[finding.id] = replace(finding, merged_into=older)
                if finding.live:
                    events.append(Event(at=at, finding=finding.id, what=EventKind.MERGED, text=f"is part of {older}"))
        return claimed


def _place(key: CellKey) -> tuple[str, str, Protocol]:
    return key.agent, key.destination, key.protocol


def _by_age(finding: Finding) -> tuple[bool, float, str]:
    return finding.status is Status.SUSPECTED, finding.first_seen, finding.id


class Places:
    """Where each fold is, so that a finding is compared only with those that have a cell in common with it."""

    def __init__(self, folds: Sequence[Fold]) -> None:
        spans: dict[tuple[Kind, str, CellKey], list[tuple[int, int, int]]] = {}
        for index, fold in enumerate(folds):
            for region in fold.regions:
                place = (fold.kind, fold.source, region.key)
                spans.setdefault(place, []).extend((*span, index) for span in region.ports.ranges)
        # A cell is in one fold at most, so that those of one place rise and never overlap.
        self._spans = {place: sorted(found) for place, found in spans.items()}

    def shared(self, finding: Finding) -> dict[int, int]:
        """How many cells the finding shares with each fold, by the fold's index; those with none are not in it."""
        mine: dict[CellKey, PortSet] = {}
        for region in finding.regions:
            mine[region.key] = mine.get(region.key, PortSet()) | region.ports
        shared: dict[int, int] = {}
        for key, ports in mine.items():
            spans = self._spans.get((finding.kind, finding.source, key), [])
            for low, high in ports.ranges if spans else ():
                at = bisect_left(spans, low, key=lambda span: span[1])
                while at < len(spans) and spans[at][0] <= high:
                    start, end, index = spans[at]
                    shared[index] = shared.get(index, 0) + min(high, end) - max(low, start) + 1
                    at += 1
        return shared


def _suspicion(fold: Fold, at: float, taken: Mapping[str, Finding]) -> Finding:
    """A finding that is not one yet; `advanced` gives it its shape."""
    return Finding(
        id=_identity(fold, at, taken),
        kind=fold.kind,
        status=Status.SUSPECTED,
        source=fold.source,
        destination=fold.destination,
        agents=fold.agents,
        source_addresses=fold.source_addresses,
        addresses=fold.addresses,
        protocol=fold.protocol,
        ports=fold.ports,
        declared=fold.declared,
        services=fold.services,
        regions=(),
        cells=fold.count,
        first_seen=min(judged.observed_at for judged in fold.judged) or at,
        last_seen=at,
    )


def _identity(fold: Fold, at: float, taken: Mapping[str, Finding]) -> str:
    seed = f"{fold.kind} {fold.source} {fold.destination} {fold.regions[0]} {at}"
    while True:
        seed = hashlib.sha256(seed.encode()).hexdigest()
        if (name := f"F-{seed[:6]}") not in taken:
            return name
