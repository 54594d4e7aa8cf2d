"""Sets of ports: what is declared, sent, seen, stored and compared. A set is one whole number, shown as ranges."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import compress
from typing import Final

LOWEST, HIGHEST = 1, 65535
_SHORT = 64  # bits for each character of a text: beyond that the text is clearly the smaller of the two
_FEW = 32  # up to here one by one is faster than a pass over all 65,536 places
_TEXT = re.compile(r"(?:(?:[0-9]{1,5}(?:-[0-9]{1,5})?)?(?:,|\Z))*")
_AS_FLAGS = bytes.maketrans(b"01", b"\0\1")


class PortSet:
    """An immutable set of ports 1-65535, or `ICMP_CELL`: `bits` has bit n set for port n.

    Union, intersection and difference of whole sweeps are then one machine operation for 30 ports. Build one with
    `PortSet.of`, `PortSet.from_ranges` or `PortSet.parse`; the constructor trusts its argument.
    """

    __slots__ = ("_bits", "_text")

    def __init__(self, bits: int = 0, text: str = "") -> None:
        self._bits: Final = bits
        self._text: Final = text

    @classmethod
    def of(cls, ports: Iterable[int]) -> PortSet:
        """The set of the given ports, in any order, duplicates allowed; of 0 alone, ICMP's one cell."""
        found = set(ports)
        return ICMP_CELL if found == {0} else cls.from_ranges((port, port) for port in found)

    @classmethod
    def from_ranges(cls, ranges: Iterable[tuple[int, int]]) -> PortSet:
        """The union of inclusive (low, high) ranges; ValueError for one that is reversed or outside 1-65535."""
        found = list(ranges)
        for low, high in found:
            if not LOWEST <= low <= high <= HIGHEST:
                msg = f"port range {low}-{high} is not within {LOWEST}-{HIGHEST} in rising order"
                raise ValueError(msg)
        return cls.from_parts(found)

    @classmethod
    def from_parts(cls, found: Sequence[tuple[int, int]]) -> PortSet:
        """The union of what `ranges` of other sets gave, ICMP's cell among them; trusts its argument."""
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
        return cls(_parse(text))

    @classmethod
    def of_row(cls, text: str) -> PortSet:
        """As `parse`, for a row of a report: there are many, and a few characters may stand for 8 kB of bits.

        It is held as its text where that is smaller, and read again when it is used.
        """
        bits = _parse(text)
        return cls(0, text) if bits.bit_length() > _SHORT * len(text) else cls(bits)

    def compact(self) -> PortSet:
        """The same set as `of_row` holds it."""
        return PortSet.of_row(str(self)) if self.bits.bit_length() > _SHORT else self

    @property
    def bits(self) -> int:
        """The set as one number."""
        return _parse(self._text) if self._text else self._bits

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The set as disjoint, sorted, maximal inclusive ranges."""
        bits = self.bits
        return tuple(zip(_ones(bits & ~(bits << 1)), _ones(bits & ~(bits >> 1)), strict=True))

    @property
    def first(self) -> int:
        """The lowest port; -1 for the empty set."""
        bits = self.bits
        return (bits & -bits).bit_length() - 1

    def __str__(self) -> str:
        """The form that `parse` reads; `text_of` is for what may be ICMP's cell."""
        return ",".join(f"{low}-{high}" if high > low else str(low) for low, high in self.ranges)

    def __repr__(self) -> str:
        """As ranges: Python writes no number of 65,536 bits in decimal digits."""
        return f"PortSet(ranges={self.ranges})"

    def __eq__(self, other: object) -> bool:
        """Whether the same ports are in both."""
        return self.bits == other.bits if isinstance(other, PortSet) else NotImplemented

    def __hash__(self) -> int:
        # As bytes: the hash of a number is its remainder by 2**61 - 1, which leaves 61 values to all sets of one port.
        bits = self.bits
        return hash(bits.to_bytes(bits.bit_length() // 8 + 1, "little"))

    def __iter__(self) -> Iterator[int]:
        """Every port in rising order."""
        return iter(_ones(self.bits))

    def __len__(self) -> int:
        """How many ports."""
        return self.bits.bit_count()

    def __bool__(self) -> bool:
        """Whether there is a port at all."""
        return bool(self._bits or self._text)

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
        bits = self.bits
        return PortSet(bits ^ (bits & other.bits))


ALL_PORTS = PortSet.from_ranges([(LOWEST, HIGHEST)])
ICMP_CELL = PortSet(1)  # the one cell of an ICMP target, at port 0, which no TCP or UDP set has


def text_of(ports: PortSet) -> str | None:
    """The form that people and JSON have: `"22"`, `"1-79,81-65535"`, None for ICMP's cell, which has no port."""
    return None if ports == ICMP_CELL else str(ports)


@lru_cache(maxsize=128)  # a round's conclusion reads the text of each row several times
def _parse(text: str) -> int:
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
    return PortSet.from_ranges(ranges).bits


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
