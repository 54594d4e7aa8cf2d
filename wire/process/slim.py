"""Keeps what is never used out of an idle agent's memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Import something while these modules are empty for it; whoever imports them later gets the real ones."""
    absent = [name for name in names if name not in sys.modules]
    for name in absent:
        sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
