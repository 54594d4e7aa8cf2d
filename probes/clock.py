"""What time it is for a probe: its event loop's, by which it sleeps and gives up as well.

asyncio's own loops go by `time.monotonic`, and captured packets are stamped by that: the two can be compared.
"""

from __future__ import annotations

import asyncio
import time

EXACT_S, TRIES = 0.0001, 5


def monotonic() -> float:
    """Seconds by the clock of the loop that runs; RuntimeError outside of one."""
    return asyncio.get_running_loop().time()


def ahead() -> float:
    """How many seconds the wall clock is ahead of the monotonic one: of some tries the one that was interrupted least."""
    best, exact = 0.0, float("inf")
    for _ in range(TRIES):
        before, wall, after = time.monotonic(), time.time(), time.monotonic()
        if after - before < exact:
            best, exact = wall - (before + after) / 2, after - before
        if exact <= EXACT_S:
            break
    return best
