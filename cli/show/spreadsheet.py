"""What others wrote, as a spreadsheet may have it."""

from __future__ import annotations

from cli.show.render import clean

_FORMULA = ("=", "+", "-", "@")


def spreadsheet_cell(value: object) -> object:
    """Text that a spreadsheet would take for a formula is quoted as a text; somebody else may have written it."""
    if not isinstance(value, str):
        return value
    text = clean(value).replace("\n", " ")
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
