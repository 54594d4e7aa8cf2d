"""Gives memory back to the kernel after a round, so that an idle agent is as small as a new one."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Collect, then return free heap pages; nothing where the C library cannot (musl)."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
