"""`python -m tests.chaos.flooding STATE_DIR`: with an agent's own credentials, as many messages as go, for a minute at most."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path

from agent.config import broker_of, load
from wire.mqtt import Link, NotConnected
from wire.topics import UpChannel, up

MOST_S = 60.0
AT_ONCE = 20
BODY = os.urandom(4096)


async def flood(state_dir: Path) -> int:
    """Unsigned messages of four KiB; how many."""
    config, sent = load(state_dir), 0
    until = time.monotonic() + MOST_S
    topic = up(config.environment, config.name, UpChannel.OBSERVATIONS)
    async with Link(broker_of(config, state_dir)) as link:
        while time.monotonic() < until:
            await link.wait_connected()
            with contextlib.suppress(NotConnected):
                await asyncio.gather(*(link.publish(topic, BODY) for _ in range(AT_ONCE)))
                sent += AT_ONCE
    return sent


if __name__ == "__main__":
    print(asyncio.run(flood(Path(sys.argv[1]))))
