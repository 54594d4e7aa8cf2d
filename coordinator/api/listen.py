"""Where the API listens: runners, and a Unix socket that nobody else may open."""

from __future__ import annotations

import os
from pathlib import Path

from aiohttp import web

from coordinator.broker.addresses import Listen, cannot_listen

SHUTDOWN_S = 0.3


async def make_runner(app: web.Application) -> web.AppRunner:
    """An application that is ready to listen."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S, handle_signals=False)
    await runner.setup()
    return runner


async def listen_at(runner: web.AppRunner, where: Listen) -> None:
    """An address and port; OSError in words where that cannot be."""
    try:
        await web.TCPSite(runner, where.host or None, where.port).start()
    except OSError as error:
        raise OSError(cannot_listen("the API (--web)", where.endpoint, error)) from error


async def listen_on(runner: web.AppRunner, path: Path) -> None:
    """A Unix socket of mode 0600 from its first moment on; one that was left behind is replaced."""
    path.unlink(missing_ok=True)  # noqa: ASYNC240 - once, at the start
    before = os.umask(0o177)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        # By way of the directory: the path itself may be longer than a socket address holds.
        await web.UnixSite(runner, f"/proc/self/fd/{directory}/{path.name}").start()
    finally:
        os.close(directory)
        os.umask(before)
