"""The observed side of the comparison: what was last concluded of every cell, as ranges of ports judged alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from reachability.ports import ICMP_CELL, PortSet
from reachability.verdict import Evidence, Verdict
from reachability.vocabulary import Protocol, Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class CellKey:
    """Who tried what: everything of a cell but its port. The environment is in it: two may use one address."""

    agent: str
    source_address: str
    destination: str  # environment
    address: str  # bare, or the name where it did not resolve
    protocol: Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one round concluded, with the evidence for it. `observed_at` is the coordinator's clock, epoch seconds.

    `source_environment`, `witness` (agent) and `layout` are as they were when it began; "": not known, or none.
    No round, "", is of what nobody tries: the declaration alone says that it is unknown.
    """

    evidence: Evidence
    verdict: Verdict
    round: str
    run: str = ""  # the verify run, "" for the schedule's own
    schedule: Schedule = Schedule.CYCLE
    observed_at: float = 0.0
    source_environment: str = ""
    witness: str = ""
    layout: str = ""  # of the pair, as `reachability.layout` has it; "": not known


Row = tuple[PortSet, Judged]


class Matrix:
    """The newest judgement of every cell: the rows of a key are disjoint. Iterating yields the keys."""

    def __init__(self) -> None:
        self._rows: dict[CellKey, tuple[Row, ...]] = {}

    def __iter__(self) -> Iterator[CellKey]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def copy(self) -> Matrix:
        """Another of its own, as it is now."""
        made = Matrix()
        made._rows = dict(self._rows)
        return made

    def update(self, key: CellKey, ports: PortSet, judged: Judged) -> None:
        """Lay a judgement over the key's rows, as `lay` does with many."""
        self.lay(key, [(ports, judged)])

    def lay(self, key: CellKey, rows: Sequence[Row]) -> None:
        """Lay judgements of one round over the key's rows. What another round observed later stays; the same round is corrected.

        The rows are disjoint, and cost time in step with their number: an agent may make each port a row of its own.
        ValueError if ports are given for ICMP, or ICMP's cell for TCP or UDP.
        """
        for ports, _ in rows:
            if (ports == ICMP_CELL) is not (key.protocol is Protocol.ICMP):
                raise ValueError(f"{key.protocol} cells have {'no ports' if ports != ICMP_CELL else 'ports'}")
        laid, later = PortSet.union(ports for ports, _ in rows), PortSet()
        kept: dict[Judged, PortSet] = {}
        for mine, before in self._rows.get(key, ()):
            rest = mine
            if _newer(before, rows[0][1]):
                later |= mine
            else:
                rest = mine - laid
            kept[before] = kept.get(before, PortSet()) | rest
        for ports, judged in rows:
            kept[judged] = kept.get(judged, PortSet()) | (ports - later)
        found = sorted(((ports, judged) for judged, ports in kept.items() if ports), key=lambda row: row[0].first)
        if found:
            self._rows[key] = tuple(found)

    def shift(self, seconds: float) -> None:
        """The clock was set: everything was observed this much later than it says; what is of no known time, 0, stays so."""
        self._rows = {
            key: tuple(
                (ports, replace(judged, observed_at=judged.observed_at and judged.observed_at + seconds))
                for ports, judged in rows
            )
            for key, rows in self._rows.items()
        }

    @property
    def rounds(self) -> set[str]:
        """The rounds that what is held now was concluded from."""
        return {judged.round for rows in self._rows.values() for _, judged in rows}

    def rows(self, key: CellKey) -> tuple[Row, ...]:
        """The key's rows in order of their first port; empty where nothing was observed."""
        return self._rows.get(key, ())

    def drop(self, key: CellKey) -> None:
        """Forget a key, such as one that has long left the plan."""
        self._rows.pop(key, None)


def _newer(before: Judged, judged: Judged) -> bool:
    return before.round != judged.round and before.observed_at > judged.observed_at
