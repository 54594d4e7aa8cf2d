"""Laying port ranges over each other: the pieces in which every layer says one thing."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from reachability.ports import PortSet

Layer = Sequence[tuple[PortSet, Any]]


def overlay(whole: PortSet, *layers: Layer) -> list[tuple[PortSet, tuple[Any, ...]]]:
    """Split `whole` into the largest port sets over which each layer has one value (None where it says nothing).

    Within a layer a later entry hides an earlier one on the ports they share. Values must be hashable.
    """
    pieces: dict[tuple[Hashable, ...], list[tuple[int, int]]] = {}
    spans = [_spans(layer) for layer in layers]
    cuts = {low for low, _ in whole.ranges} | {high + 1 for _, high in whole.ranges}
    for layer in spans:
        for low, high, _ in layer:
            cuts.add(low)
            cuts.add(high + 1)
    at = [0] * len(spans)
    edges = sorted(cuts)
    inside = iter(whole.ranges)
    current = next(inside, None)
    for low, after in pairwise(edges):
        while current is not None and current[1] < low:
            current = next(inside, None)
        if current is None:
            break
        if low < current[0]:
            continue
        values = []
        for index, layer in enumerate(spans):
            while at[index] < len(layer) and layer[at[index]][1] < low:
                at[index] += 1
            here = layer[at[index]] if at[index] < len(layer) else None
            values.append(here[2] if here is not None and here[0] <= low else None)
        pieces.setdefault(tuple(values), []).append((low, after - 1))
    return [(PortSet.from_ranges(ranges), values) for values, ranges in pieces.items()]


def _spans(layer: Iterable[tuple[PortSet, Any]]) -> list[tuple[int, int, Any]]:
    """The layer as disjoint sorted (low, high, value), later entries on top."""
    entries = list(layer)
    spans: list[tuple[int, int, Any]] = []
    hidden = PortSet()
    if _disjoint(entries):
        spans = [(low, high, value) for ports, value in entries for low, high in ports.ranges]
    else:
        for ports, value in reversed(entries):
            spans.extend((low, high, value) for low, high in (ports - hidden).ranges)
            hidden |= ports
    return sorted(spans, key=lambda span: span[0])


def _disjoint(entries: Sequence[tuple[PortSet, Any]]) -> bool:
    spans = sorted(span for ports, _ in entries for span in ports.ranges)
    return all(before[1] < after[0] for before, after in pairwise(spans))
