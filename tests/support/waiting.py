"""How a test waits: for an event, within a bound that nothing but a hang reaches, however busy the machine is."""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

HANG_S = 60.0
T = TypeVar("T")


async def until(ready: Callable[[], object], within_s: float = HANG_S) -> None:
    """Wait for what nobody tells of."""
    async with asyncio.timeout(within_s):
        while not ready():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)


def wait_for(ready: Callable[[], T]) -> T:
    """As `until`, where there is no loop; what it found."""
    end = time.monotonic() + HANG_S
    while not (found := ready()):
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)
    return found


@contextmanager
def handle_of(pid: int) -> Iterator[int]:
    """A handle of a living process, for `has_ended`: a number alone may be another's by then."""
    handle = os.pidfd_open(pid)
    try:
        yield handle
    finally:
        os.close(handle)


def has_ended(handle: int) -> bool:
    """Wait for its end. The exit status stays for whoever started it: psutil's `wait` takes it from asyncio."""
    return bool(select.select([handle], [], [], HANG_S)[0])
