"""Other processes as a test sees them: any may have ended since it was listed."""

from __future__ import annotations

import psutil


def command_line(process: psutil.Process) -> str:
    """What it was started with, "" of one that has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
