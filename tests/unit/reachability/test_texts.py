"""What others wrote moves no cursor and hides nothing."""

from __future__ import annotations

import pytest

from reachability.texts import clean, clean_all, clean_lines, printable


@pytest.mark.parametrize("text", ["", "200 MLflow", "größer, 模型", "C:\\temp"])
def test_what_can_be_read_stays_as_it_is(text: str) -> None:
    assert printable(text) == clean(text) == clean_lines(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ok\x1b[2K\rgreen", "ok\\x1b[2K\\rgreen"),
        ("one\ntwo", "one\\ntwo"),
        ("a\u202eb", "a\\u202eb"),
        ("\U000e0041", "\\U000e0041"),
        ("größer\x00", "größer\\x00"),
        ("a\u3164b\ufe0f", "a\\u3164b\\ufe0f"),
        ("1\u00a02", "1\\xa02"),
    ],
)
def test_what_would_act_on_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ok\x1b[2K\rgreen\x9b", "ok·[2K·green·"),
        ("one\ntwo\tthree", "one two three"),
        ("one\u2028two\u2029", "one·two·"),
        ("a\u202eb\u200b\u2066\ufeff\u00ad", "a·b····"),
        ("1\u00a02", "1\u00a02"),
        ("\u3164\u034f\U000e0041\ud800", "····"),
        ("größer\x00", "größer·"),
    ],
)
def test_what_would_act_hide_or_turn_is_a_dot(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_lines_stay_and_what_is_in_them_does_not() -> None:
    assert clean_lines("one\n\x1b[2J\n") == "one\n·[2J\n"


def test_every_text_of_a_value_is_clean_and_nothing_else_changes() -> None:
    assert clean_all({"a": ["b\n", 1, None, {"c": "\x1b"}], "d": True}) == {"a": ["b ", 1, None, {"c": "·"}], "d": True}
