"""Packets that leave in one system call: a batch of a sweep with its controls among it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probes.packets.tx_ring import Frames, Lengths


def burst(frames: Frames, among: Sequence[tuple[int, bytes]] = ()) -> tuple[Frames, Lengths]:
    """Packets of one length, and others `among` them: each with how many of the former go before it, in rising order.

    Returns them in the order in which they leave, and how long each is.
    """
    count, length = frames.shape
    if not among:
        return frames, np.full(count, length, np.uint16)
    width = max(length, *(len(data) for _, data in among))
    rows, lengths = np.zeros((count + len(among), width), np.uint8), np.full(count + len(among), length, np.uint16)
    ours = np.ones(len(rows), bool)
    for number, (behind, data) in enumerate(among):
        row = behind + number
        ours[row], lengths[row] = False, len(data)
        rows[row, : len(data)] = np.frombuffer(data, np.uint8)
    rows[ours, :length] = frames
    return rows, lengths
