"""How much work something is, on whatever machine: calls instead of time."""

from __future__ import annotations

import sys
from collections.abc import Callable


def calls(read: Callable[[], object]) -> int:
    """How many functions are called, Python's and C's: a measure of work that no machine changes."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    former = sys.getprofile()
    sys.setprofile(counted)
    try:
        read()
    finally:
        sys.setprofile(former)
    return count
