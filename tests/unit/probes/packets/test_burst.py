"""Packets that leave together, with the controls among them."""

from __future__ import annotations

import numpy as np

from probes.packets.burst import burst


class TestWhatLeavesTogether:
    def test_controls_go_right_behind_their_part(self) -> None:
        frames = np.arange(5, dtype=np.uint8)[:, None].repeat(4, axis=1)
        rows, lengths = burst(frames, [(2, b"\xaa" * 6), (5, b"\xbb" * 3)])
        assert lengths.tolist() == [4, 4, 6, 4, 4, 4, 3]
        assert [row[:length].tobytes() for row, length in zip(rows, lengths, strict=True)] == [
            b"\x00" * 4, b"\x01" * 4, b"\xaa" * 6, b"\x02" * 4, b"\x03" * 4, b"\x04" * 4, b"\xbb" * 3,
        ]  # fmt: skip

    def test_without_controls_nothing_is_copied(self) -> None:
        frames = np.zeros((3, 4), np.uint8)
        rows, lengths = burst(frames)
        assert rows is frames
        assert lengths.tolist() == [4, 4, 4]
