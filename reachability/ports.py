"""Sets of ports: what is declared, sent, seen, stored and compared. A set is one whole number, shown as ranges."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import compress
from typing import Final

LOWEST, HIGHEST = 1, 65535
_FEW = 32  # up to here one by one is faster than a pass over all 65,536 places
_TEXT = re.compile(r"(?:(?:[0-9]{1,5}(?:-[0-9]{1,5})?)?(?:,|\Z))*")
_AS_FLAGS = bytes.maketrans(b"01", b"\0\1")


class PortSet:
    """An immutable set of ports 1-65535: `bits` has bit n set for port n.

    Union, intersection and difference of whole sweeps are then one machine operation for 30 ports. Build one with
    `PortSet.of`, `PortSet.from_ranges` or `PortSet.parse`; the constructor trusts its argument.
    """

    __slots__ = ("bits",)

    def __init__(self, bits: int = 0) -> None:
        self.bits: Final = bits

    @classmethod
    def of(cls, ports: Iterable[int]) -> PortSet:
        """The set of the given ports, in any order, duplicates allowed."""
        return cls.from_ranges((port, port) for port in ports)

    @classmethod
    def from_ranges(cls, ranges: Iterable[tuple[int, int]]) -> PortSet:
        """The union of inclusive (low, high) ranges; ValueError for one that is reversed or outside 1-65535."""
        found = list(ranges)
        for low, high in found:
            if not LOWEST <= low <= high <= HIGHEST:
                msg = f"port range {low}-{high} is not within {LOWEST}-{HIGHEST} in rising order"
                raise ValueError(msg)
        bits = 0
        if len(found) <= _FEW:
            for low, high in found:
                bits |= (1 << high + 1) - (1 << low)
            return cls(bits)
        digits = bytearray(b"0" * (HIGHEST + 1))  # the lowest first
        for low, high in found:
            digits[low : high + 1] = b"1" * (high - low + 1)
        return cls(int(digits[::-1], 2))

    @classmethod
    def union(cls, sets: Iterable[PortSet]) -> PortSet:
        """Every port that is in one of them."""
        bits = 0
        for ports in sets:
            bits |= ports.bits
        return cls(bits)

    @classmethod
    def parse(cls, text: str) -> PortSet:
        """Read "22", "1-79,81-65535" or "" (the empty set); ValueError names the part that is wrong."""
        return _parse(text)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The set as disjoint, sorted, maximal inclusive ranges."""
        return tuple(zip(_ones(self.bits & ~(self.bits << 1)), _ones(self.bits & ~(self.bits >> 1)), strict=True))

    @property
    def first(self) -> int:
        """The lowest port; -1 for the empty set."""
        return (self.bits & -self.bits).bit_length() - 1

    def __str__(self) -> str:
        """The form that `parse` reads."""
        return ",".join(f"{low}-{high}" if high > low else str(low) for low, high in self.ranges)

    def __repr__(self) -> str:
        """As ranges: Python writes no number of 65,536 bits in decimal digits."""
        return f"PortSet(ranges={self.ranges})"

    def __eq__(self, other: object) -> bool:
        """Whether the same ports are in both."""
        return self.bits == other.bits if isinstance(other, PortSet) else NotImplemented

    def __hash__(self) -> int:
        # As bytes: the hash of a number is its remainder by 2**61 - 1, which leaves 61 values to all sets of one port.
        return hash(self.bits.to_bytes(self.bits.bit_length() // 8 + 1, "little"))

    def __iter__(self) -> Iterator[int]:
        """Every port in rising order."""
        return iter(_ones(self.bits))

    def __len__(self) -> int:
        """How many ports."""
        return self.bits.bit_count()

    def __bool__(self) -> bool:
        """Whether there is a port at all."""
        return self.bits != 0

    def __contains__(self, port: int) -> bool:
        """Whether the port is in the set."""
        return port >= 0 and bool(self.bits >> port & 1)

    def __or__(self, other: PortSet) -> PortSet:
        """Union."""
        return PortSet(self.bits | other.bits)

    def __and__(self, other: PortSet) -> PortSet:
        """Intersection."""
        return PortSet(self.bits & other.bits)

    def __sub__(self, other: PortSet) -> PortSet:
        """Difference."""
        return PortSet(self.bits ^ (self.bits & other.bits))

    def complement(self) -> PortSet:
        """Every port of 1-65535 that is not in the set."""
        return ALL_PORTS - self


ALL_PORTS = PortSet.from_ranges([(LOWEST, HIGHEST)])


@lru_cache(maxsize=128)  # a round's conclusion reads the text of each row several times
def _parse(text: str) -> PortSet:
    parts = [part for part in text.split(",") if part]
    if not _TEXT.fullmatch(text):
        wrong = next(part for part in parts if not _TEXT.fullmatch(part))
        msg = f"'{wrong}' is not a port or a range of ports"
        raise ValueError(msg)
    ranges = []
    for part in parts:
        low, dash, high = part.partition("-")
        first = int(low)
        ranges.append((first, int(high) if dash else first))
    return PortSet.from_ranges(ranges)


def _ones(bits: int) -> list[int]:
    """The places of the bits that are set, in rising order."""
    if bits.bit_count() <= _FEW:
        found = []
        while bits:
            place = bits.bit_length() - 1
            found.append(place)
            bits ^= 1 << place
        return found[::-1]
    digits = bin(bits)[:1:-1].encode()
    return list(compress(range(len(digits)), digits.translate(_AS_FLAGS)))
