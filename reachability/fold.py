"""Folds failing cells into causes: contiguous ports first, then hosts, then the directions they are reached from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from reachability.compare import Cell
from reachability.matrix import CellKey, Judged
from reachability.ports import PortSet
from reachability.vocabulary import Declared, Protocol, Result, State


class Kind(StrEnum):
    """What is wrong: more is open than declared, or less."""

    UNEXPECTED_PATH = "unexpected-path"
    MISSING_PATH = "missing-path"


@dataclass(frozen=True, slots=True)
class Region:
    """Cells of one key."""

    key: CellKey
    ports: PortSet

    @property
    def count(self) -> int:
        """How many cells."""
        return len(self.ports)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Failing cells that one cause explains. `waiver` is the id of the waiver that covers them, "" for none."""

    kind: Kind
    source: str  # environment
    destination: str
    agents: tuple[str, ...]
    source_addresses: tuple[str, ...]
    addresses: tuple[str, ...]
    protocol: Protocol
    ports: PortSet
    declared: Declared
    services: tuple[str, ...]
    regions: tuple[Region, ...]
    judged: tuple[Judged, ...]  # of its cells; the one that says most comes first
    waiver: str = ""
    path: str = ""  # the required path that is missing

    @property
    def count(self) -> int:
        """How many cells it stands for."""
        return sum(region.count for region in self.regions)

    @property
    def rounds(self) -> frozenset[str]:
        """The rounds that observed it."""
        return frozenset(judged.round for judged in self.judged)


_Label = tuple[Kind, Declared, str, str]  # kind, declared, waiver, path: what may fold together
_Run = list[tuple[tuple[int, int], Cell]]  # ranges of ports, each with the cell it is of
_Made = dict[tuple[tuple[int, int], ...], PortSet]  # what is alike on many hosts is held once


def fold_findings(cells: Iterable[Cell]) -> tuple[Fold, ...]:
    """Every fail and waived cell in exactly one fold; nothing else in any."""
    by_key: dict[CellKey, list[Cell]] = {}
    for cell in cells:
        by_key.setdefault(cell.key, []).append(cell)
    made: _Made = {}
    folds = [fold for group in by_key.values() for fold in _contiguous(group, made)]
    folds = _merge(folds, lambda fold: (fold.agents, fold.source_addresses))
    return tuple(_merge(folds, lambda fold: fold.addresses))


def _label(cell: Cell) -> _Label | None:
    if cell.result not in {Result.FAIL, Result.WAIVED}:
        return None
    waiver = cell.waiver.id if cell.result is Result.WAIVED and cell.waiver is not None else ""
    kind = kind_of(cell.declared)
    path = cell.path.name if cell.path is not None and kind is Kind.MISSING_PATH else ""
    return kind, cell.declared, waiver, path


def kind_of(declared: Declared) -> Kind:
    """The kind of finding that failing cells so declared are."""
    return Kind.MISSING_PATH if declared is Declared.REQUIRED else Kind.UNEXPECTED_PATH


def _boundary(cell: Cell) -> Kind | None:
    """The kind of finding that a cell ends: a port shown to be as declared lies between two causes, no other does."""
    if cell.result is not Result.PASS:
        return None
    match cell.declared:
        case Declared.DENIED:
            return Kind.UNEXPECTED_PATH
        case Declared.REQUIRED:
            return Kind.MISSING_PATH
        case Declared.ALLOWED:
            return None
        case _:
            assert_never(cell.declared)


def _contiguous(cells: Sequence[Cell], made: _Made) -> list[Fold]:
    """Folds of one key: runs of failing ports with no port between them that is as declared."""
    told = [
        (cell, label, ended) for cell in cells for label, ended in [(_label(cell), _boundary(cell))] if label or ended
    ]
    if not any(label for _, label, _ in told):
        return []
    spans = sorted(((*span, *one) for one in told for span in one[0].ports.ranges), key=lambda span: span[0])
    folds: list[Fold] = []
    running: dict[_Label, _Run] = {}
    for low, high, cell, label, ended in spans:
        if label is not None:
            running.setdefault(label, []).append(((low, high), cell))
        elif running:
            folds += [_fold_run(one, running.pop(one), made) for one in list(running) if one[0] is ended]
    return folds + [_fold_run(label, run, made) for label, run in running.items()]


def _fold_run(label: _Label, run: _Run, made: _Made) -> Fold:
    spans = tuple(span for span, _ in run)
    if spans not in made:
        made[spans] = PortSet.from_parts(spans)
    return _fold(label, list({id(cell): cell for _, cell in run}.values()), made[spans])


def _fold(label: _Label, cells: Sequence[Cell], ports: PortSet) -> Fold:
    kind, declared, waiver, path = label
    key = cells[0].key
    return Fold(
        kind=kind,
        source=cells[0].source_environment,
        destination=key.destination,
        agents=(key.agent,),
        source_addresses=(key.source_address,),
        addresses=(key.address,),
        protocol=key.protocol,
        ports=ports,
        declared=declared,
        services=tuple(sorted({cell.service for cell in cells if cell.service})),
        regions=(Region(key, ports),),
        judged=_telling(cell.judged for cell in cells),
        waiver=waiver,
        path=path,
    )


def _telling(judged: Iterable[Judged | None]) -> tuple[Judged, ...]:
    """Without duplicates; what answered comes before what was closed, and that before what was only seen to arrive."""
    rank = {State.OPEN: 0, State.CLOSED: 1}
    distinct = {one: None for one in judged if one is not None}
    return tuple(sorted(distinct, key=lambda one: (rank.get(one.evidence.state, 2), -one.observed_at)))


def _merge(folds: Iterable[Fold], side: object) -> list[Fold]:
    """Join folds that are alike in everything but the other side's addresses; `side` names what must be the same."""
    assert callable(side)
    groups: dict[object, list[Fold]] = {}
    for fold in folds:
        alike = (fold.kind, fold.source, fold.destination, fold.protocol, fold.ports, fold.waiver, fold.path)
        groups.setdefault((alike, side(fold)), []).append(fold)
    return [_join(group) if len(group) > 1 else group[0] for group in groups.values()]


def _join(folds: Sequence[Fold]) -> Fold:
    return replace(
        folds[0],
        agents=_union(fold.agents for fold in folds),
        source_addresses=_union(fold.source_addresses for fold in folds),
        addresses=_union(fold.addresses for fold in folds),
        services=tuple(sorted({service for fold in folds for service in fold.services})),
        regions=tuple(region for fold in folds for region in fold.regions),
        judged=_telling(one for fold in folds for one in fold.judged),
    )


def _union(parts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for part in parts for item in part))
