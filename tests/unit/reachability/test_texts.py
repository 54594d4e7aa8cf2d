"""What others wrote moves no cursor and hides nothing."""

from __future__ import annotations

import pytest

from reachability.texts import printable


@pytest.mark.parametrize("text", ["", "200 MLflow", "größer, 模型", "C:\\temp"])
def test_what_can_be_read_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ok\x1b[2K\rgreen", "ok\\x1b[2K\\rgreen"),
        ("one\ntwo", "one\\ntwo"),
        ("a\u202eb", "a\\u202eb"),
        ("\U000e0041", "\\U000e0041"),
        ("größer\x00", "größer\\x00"),
    ],
)
def test_what_would_act_on_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()
