"""Laying port sets over each other: the pieces in which every layer says one thing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reachability.ports import PortSet

_EIGHTH = (1 << 8192) - 1
_MANY = 1 << 18
Layer = Sequence[tuple[PortSet, Any]]


def overlay(whole: PortSet, *layers: Layer) -> list[tuple[PortSet, tuple[Any, ...]]]:
    """Split `whole` into the largest port sets over which each layer has one value (None where it says nothing).

    Within a layer a later entry hides an earlier one on the ports they share. Values must be hashable. The pieces come
    in the order of their lowest ports.
    """
    pieces: list[tuple[int, tuple[Any, ...]]] = [(whole.bits, ())] if whole else []
    for layer in layers:
        said = _said(layer, whole.bits)
        if len(pieces) * len(said) > _MANY:
            pieces = _by_port(pieces, said)
            continue
        parted: list[tuple[int, tuple[Any, ...]]] = []
        for rest, values in pieces:
            for value, bits in said:
                if both := rest & bits:
                    if both == rest:
                        parted.append((rest, (*values, value)))
                        break
                    parted.append((both, (*values, value)))
                    rest ^= both  # noqa: PLW2901 - what the layer has said nothing of yet
            else:
                parted.append((rest, (*values, None)))
        pieces = parted
    pieces.sort(key=_lowest)
    return [(PortSet(bits), values) for bits, values in pieces]


def _said(layer: Iterable[tuple[PortSet, Any]], whole: int) -> list[tuple[Any, int]]:
    """What a layer says within `whole`, a value once, with the ports for which nothing later says otherwise."""
    said: dict[Any, int] = {}
    for ports, value in reversed(list(layer)):
        if seen := ports.bits & whole:
            whole ^= seen
            said[value] = said.get(value, 0) | seen
    said.pop(None, None)  # as good as silence
    return list(said.items())


def _by_port(
    pieces: Iterable[tuple[int, tuple[Any, ...]]], said: Iterable[tuple[Any, int]]
) -> list[tuple[int, tuple[Any, ...]]]:
    """The same port by port: however many values there are on both sides, there are no more ports than that."""
    says = {port: value for value, bits in said for port in PortSet(bits)}
    parted: list[tuple[int, tuple[Any, ...]]] = []
    for rest, values in pieces:
        ports: dict[Any, list[int]] = {}
        for port in PortSet(rest):
            ports.setdefault(says.get(port), []).append(port)
        parted.extend((PortSet.of(mine).bits, (*values, value)) for value, mine in ports.items())
    return parted


def _lowest(piece: tuple[int, Any]) -> int:
    """The lowest bit of a piece. Most have one among the first few, and the first few are cheap to look at."""
    bits = piece[0]
    low = bits & 0xFFFFFFFF or bits & _EIGHTH or bits
    return low & -low
