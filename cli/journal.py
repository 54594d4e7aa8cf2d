"""What goes to systemd's journal as an error: sd-daemon(3). Nothing is changed where a terminal or a file reads."""

from __future__ import annotations

import os
from collections.abc import Iterable

STDOUT, STDERR = 1, 2
_ERR = "<3>"


def as_errors(lines: Iterable[str], descriptor: int) -> list[str]:
    """The lines, with the journal's mark of an error where the descriptor leads there: systemd.exec(5), JOURNAL_STREAM."""
    mark = _ERR if _leads_to_journal(descriptor) else ""
    return [f"{mark}{part}" for line in lines for part in line.split("\n")]


def _leads_to_journal(descriptor: int) -> bool:
    named = os.environ.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return named == f"{found.st_dev}:{found.st_ino}"
