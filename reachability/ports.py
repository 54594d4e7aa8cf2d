"""Sets of ports as sorted maximal ranges: what is declared, sent, seen, stored and compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LOWEST, HIGHEST = 1, 65535


@dataclass(frozen=True, slots=True)
class PortSet:
    """An immutable set of ports 1-65535, held as disjoint, sorted, maximal inclusive ranges.

    Build one with `PortSet.of`, `PortSet.from_ranges` or `PortSet.parse`; the constructor trusts its argument.
    """

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, ports: Iterable[int]) -> PortSet:
        """The set of the given ports, in any order, duplicates allowed."""
        return cls.from_ranges((port, port) for port in ports)

    @classmethod
    def from_ranges(cls, ranges: Iterable[tuple[int, int]]) -> PortSet:
        """The union of inclusive (low, high) ranges; ValueError for one that is reversed or outside 1-65535."""
        merged: list[tuple[int, int]] = []
        for low, high in sorted(ranges):
            if not LOWEST <= low <= high <= HIGHEST:
                msg = f"port range {low}-{high} is not within {LOWEST}-{HIGHEST} in rising order"
                raise ValueError(msg)
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        return cls(tuple(merged))

    @classmethod
    def parse(cls, text: str) -> PortSet:
        """Read "22", "1-79,81-65535" or "" (the empty set); ValueError names the part that is wrong."""
        ranges = []
        for part in filter(None, text.split(",")):
            low, dash, high = part.partition("-")
            if not (_is_number(low) and (_is_number(high) if dash else True)):
                msg = f"'{part}' is not a port or a range of ports"
                raise ValueError(msg)
            ranges.append((int(low), int(high) if dash else int(low)))
        return cls.from_ranges(ranges)

    def __str__(self) -> str:
        """The form that `parse` reads."""
        return ",".join(f"{low}-{high}" if high > low else str(low) for low, high in self.ranges)

    def __iter__(self) -> Iterator[int]:
        """Every port in rising order."""
        for low, high in self.ranges:
            yield from range(low, high + 1)

    def __len__(self) -> int:
        """How many ports."""
        return sum(high - low + 1 for low, high in self.ranges)

    def __bool__(self) -> bool:
        """Whether there is a port at all."""
        return bool(self.ranges)

    def __contains__(self, port: int) -> bool:
        """Whether the port is in the set."""
        return any(low <= port <= high for low, high in self.ranges)

    def __or__(self, other: PortSet) -> PortSet:
        """Union."""
        return PortSet.from_ranges((*self.ranges, *other.ranges))

    def __and__(self, other: PortSet) -> PortSet:
        """Intersection, in one merge of the two lists."""
        result, mine, theirs = [], 0, 0
        while mine < len(self.ranges) and theirs < len(other.ranges):
            low = max(self.ranges[mine][0], other.ranges[theirs][0])
            high = min(self.ranges[mine][1], other.ranges[theirs][1])
            if low <= high:
                result.append((low, high))
            if self.ranges[mine][1] < other.ranges[theirs][1]:
                mine += 1
            else:
                theirs += 1
        return PortSet(tuple(result))

    def __sub__(self, other: PortSet) -> PortSet:
        """Difference."""
        return self & other.complement()

    def complement(self) -> PortSet:
        """Every port of 1-65535 that is not in the set."""
        result, start = [], LOWEST
        for low, high in self.ranges:
            if low > start:
                result.append((start, low - 1))
            start = high + 1
        if start <= HIGHEST:
            result.append((start, HIGHEST))
        return PortSet(tuple(result))


ALL_PORTS = PortSet(((LOWEST, HIGHEST),))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5  # noqa: PLR2004 - 65535 has five digits
