"""Texts that somebody else wrote, made fit to be shown: the one place that knows what must not reach who reads them."""

from __future__ import annotations

import unicodedata
from typing import Any

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # general categories: nothing of these can be read
_NO_WIDTH = frozenset(  # those of Unicode's Default_Ignorable_Code_Point that have another category, and a blank letter
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2800, 0x3164, *range(0xFE00, 0xFE10), 0xFFA0,
              *range(0xE0100, 0xE01F0)))
)  # fmt: skip
_BETWEEN = "\n\t"  # what a space stands for where a text has one line


def clean(text: str) -> str:
    """The text in one line: a dot for each character that moves a cursor, turns, hides or ends what is read."""
    if _is_plain(text):
        return text
    return "".join(" " if c in _BETWEEN else "·" if _is_unseen(c) else c for c in text)


def clean_lines(text: str) -> str:
    """The same for a text of several lines, which it keeps."""
    return text if _is_plain(text) else "\n".join(map(clean, text.split("\n")))


def clean_all(value: Any) -> Any:
    """A value as JSON has it, with every text in it clean; keys are not others' to choose."""
    match value:
        case str():
            return clean(value)
        case list():
            return [clean_all(one) for one in value]
        case dict():
            return {key: clean_all(one) for key, one in value.items()}
        case _:
            return value


def printable(text: str) -> str:
    """The text with escapes for the same characters, where it must be seen which they were; also for unusual spaces."""
    if _is_plain(text):
        return text
    return "".join(c.encode("unicode_escape").decode() if not c.isprintable() or c in _NO_WIDTH else c for c in text)


def _is_plain(text: str) -> bool:
    return text.isprintable() and (text.isascii() or _NO_WIDTH.isdisjoint(text))


def _is_unseen(char: str) -> bool:
    return char in _NO_WIDTH or unicodedata.category(char) in _UNSEEN
