"""Runners, and a Unix socket that nobody else may open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from aiohttp import web

SHUTDOWN_S = 0.3


async def make_runner(app: web.Application, **protocol: Any) -> web.AppRunner:
    """An application that is ready to listen; `protocol` is what aiohttp's `RequestHandler` takes."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S, handle_signals=False, **protocol)
    await runner.setup()
    return runner


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
