"""When a packet came is the kernel's word, however long it waited in the ring; a wall clock that jumps moves it only so far."""

from __future__ import annotations

import time

import numpy as np
import pytest

from probes.packets import rx_ring
from probes.packets.rx_ring import SLOT, TP_STATUS_USER, Batch, Capture, Slots

WALL = 1_000_000.0  # the wall clock when the monotonic one is at 0


class Ring:
    """A capture of eight slots, and both clocks: what comes in is put where the kernel puts it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.ahead = 100.0, WALL
        self.times: list[float] = []
        monkeypatch.setattr(rx_ring, "SLOTS", 8)
        monkeypatch.setattr(rx_ring, "ahead", lambda: self.ahead)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.words = np.zeros((8, SLOT // 4), np.uint32)
        self.capture = object.__new__(Capture)  # without a socket
        self.capture.readers = [self.take]
        self.capture._slots = Slots(self.words.view(np.uint8).reshape(-1))
        self.capture._head = self.capture._seen = 0
        self.capture._ahead, self.capture._empty = self.ahead, self.now

    def take(self, batch: Batch) -> np.ndarray:
        self.times.extend(batch.at.tolist())
        return np.ones(len(batch), bool)

    def comes(self, row: int) -> None:
        at = self.now + self.ahead
        self.words[row, 4:6] = int(at), int(at % 1 * 1e9)
        self.words[row, 0] = TP_STATUS_USER


def test_a_packet_that_waited_for_long_has_the_time_at_which_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring(monkeypatch)
    assert ring.capture.read() is None
    for row in range(3):
        ring.now += 4.0
        ring.comes(row)
    ring.now += 1.0  # the loop stood still for 13 seconds
    assert ring.capture.read() == []
    monkeypatch.undo()
    assert ring.times == pytest.approx([104.0, 108.0, 112.0], abs=1e-3)


def test_nothing_came_before_the_ring_was_last_seen_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring(monkeypatch)
    ring.now += 20.0
    assert ring.capture.read() is None
    ring.now += 8.0
    ring.comes(0)
    ring.ahead += 86_400.0  # the wall clock is set a day ahead
    ring.now += 1.0
    assert ring.capture.read() == []
    monkeypatch.undo()
    assert ring.times == pytest.approx([120.0], abs=1e-3)
