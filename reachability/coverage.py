"""How much of what must be proven is proven, per pair of environments. Nothing is rounded away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reachability.compare import Cell, Grade
from reachability.topology import Topology
from reachability.vocabulary import NOT_TESTED, Result

PROVEN = frozenset({Result.PASS, Result.FAIL, Result.WAIVED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Cells of a pair (or of all) counted: by result, by grade, and what is required against what of it is proven."""

    source: str
    destination: str
    results: Mapping[Result, int] = field(default_factory=dict)
    required: int = 0
    proven: int = 0  # of the required ones
    unproven: Mapping[Result, int] = field(default_factory=dict)  # of the required ones: inconclusive, stale, not-run
    no_packet: int = 0
    no_session: int = 0
    paths: int = 0  # declared ones that its cells belong to
    beyond_proof: int = 0  # probed but not required, and inconclusive: an agent on the host would settle them

    @property
    def cells(self) -> int:
        """All of them."""
        return sum(self.results.values())

    @property
    def ratio(self) -> float:
        """Proven of required, 1.0 only where that is all of them. Where there is nothing to test, nothing is proven."""
        if not self.cells:
            return 0.0
        if self.proven == self.required:
            return 1.0
        return min(self.proven / self.required, 0.999999)


@dataclass(slots=True)
class _Tally:
    results: dict[Result, int] = field(default_factory=lambda: dict.fromkeys(Result, 0))
    unproven: dict[Result, int] = field(default_factory=dict)
    required: int = 0
    no_packet: int = 0
    no_session: int = 0
    beyond_proof: int = 0
    paths: set[str] = field(default_factory=set)

    def add(self, cell: Cell) -> None:
        count, result = cell.count, cell.result
        self.results[result] += count
        if cell.grade:
            self.no_packet += count * (cell.grade is Grade.NO_PACKET)
            self.no_session += count * (cell.grade is Grade.NO_SESSION)
        if cell.path is not None:
            self.paths.add(cell.path.name)
        if cell.required:
            self.required += count
            if result not in PROVEN:
                self.unproven[result] = self.unproven.get(result, 0) + count
        elif result is Result.INCONCLUSIVE:
            self.beyond_proof += count

    def coverage(self, source: str, destination: str) -> Coverage:
        return Coverage(
            source=source,
            destination=destination,
            results=self.results,
            required=self.required,
            proven=self.required - sum(self.unproven.values()),
            unproven=self.unproven,
            no_packet=self.no_packet,
            no_session=self.no_session,
            paths=len(self.paths),
            beyond_proof=self.beyond_proof,
        )


def coverage(cells: Iterable[Cell]) -> tuple[Coverage, ...]:
    """One entry per (source, destination) pair, in the order in which the cells name them."""
    pairs: dict[tuple[str, str], _Tally] = {}
    for cell in cells:
        tally = pairs.get(cell.pair)
        if tally is None:
            tally = pairs[cell.pair] = _Tally()
        tally.add(cell)
    return tuple(tally.coverage(*pair) for pair, tally in pairs.items())


def untested(topology: Topology, cells: Iterable[Cell]) -> tuple[tuple[str, str], ...]:
    """Pairs of environments without a single cell, although the source has an agent: no green may stand for them."""
    tested = {cell.pair for cell in cells}
    return tuple(
        (source.name, destination)
        for source in topology.environments.values()
        for destination in topology.environments
        if source.agents and destination != source.name and (source.name, destination) not in tested
    )


def not_tested(topology: Topology) -> tuple[str, ...]:
    """Protocols that may cross between the environments and that no probe tries, by IANA's names; IGMP is IPv4's alone."""
    versions = {network.version for environment in topology.environments.values() for network in environment.networks}
    return tuple(name for name in NOT_TESTED if name != "igmp" or 4 in versions)  # noqa: PLR2004 - IPv4


def total(cells: Iterable[Cell]) -> Coverage:
    """All cells as one entry; its source and destination are empty."""
    tally = _Tally()
    for cell in cells:
        tally.add(cell)
    return tally.coverage("", "")
