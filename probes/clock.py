"""What time it is for a probe: its event loop's, by which it sleeps and gives up as well.

asyncio's own loops go by `time.monotonic`, and captured packets are stamped by that: the two can be compared.
"""

from __future__ import annotations

import asyncio


def monotonic() -> float:
    """Seconds by the clock of the loop that runs; RuntimeError outside of one."""
    return asyncio.get_running_loop().time()
