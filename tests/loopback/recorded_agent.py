"""A whole agent as a process, but that its packet child writes down what it is told and sends nothing.

`python -m tests.loopback.recorded_agent STATE_DIR [leap] [schema=N] [clock=N]`; leap: when a file of that
name is there, its steady clock is 200 s further; clock: its wall's is so many seconds ahead.
"""

import asyncio
import signal
import sys
import time
from pathlib import Path

import wire.envelope
from agent import daemon as daemons
from agent.config import load
from agent.journal import open_log
from tests.loopback import recording_child


def set_ahead(seconds: float) -> None:
    right = time.time
    time.time = lambda: right() + seconds


def leap_with(file: Path) -> None:
    right = time.clock_gettime
    time.clock_gettime = lambda which: right(which) + (200 if file.exists() else 0)


def main(directory: Path, ways: list[str]) -> None:
    for way in ways:
        if way == "leap":
            leap_with(directory / "leap")
        elif way.startswith("schema="):
            wire.envelope.SCHEMA = int(way.removeprefix("schema="))  # type: ignore[attr-defined]
        elif way.startswith("clock="):
            set_ahead(float(way.removeprefix("clock=")))
    config = load(directory)
    log = open_log(config.name, as_json=True, verbose=True)
    child = (sys.executable, recording_child.__file__, str(directory / "orders"), config.name)

    async def serve() -> None:
        served = daemons.Daemon(config, directory, log, child=child)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, served.stop)
        await served.run()

    asyncio.run(serve())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
