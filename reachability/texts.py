"""Texts that somebody else wrote, made fit to be shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with escapes for what moves a terminal's cursor, hides or ends a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
