"""The parts of segwatch that an install may lack: the extras of its own metadata."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import PurePosixPath

from cli import program
from cli.errors import Problem

_ASKED = re.compile(r"""(?P<distribution>[\w.-]+)[^;]*;.*\bextra\s*==\s*['"](?P<extra>[\w.-]+)['"]""")
PACKAGED_VENV = PurePosixPath("/usr/lib/segwatch")  # the Debian packages'; there is no pip in it
_UNIONS = ("all", "dev")  # they repeat what other extras ask for


def lacking(error: ModuleNotFoundError) -> Problem | None:
    """What to install, where the missing module is a distribution of an extra; None: it is a fault.

    The distributions of our extras are imported by their own names, as a test holds.
    """
    try:
        asked = requires("segwatch") or []
    except PackageNotFoundError:  # a checkout that nobody installed
        return None
    for found in filter(None, map(_ASKED.match, asked)):
        distribution, extra = found["distribution"], found["extra"]
        if extra not in _UNIONS and re.sub(r"[-_.]+", "_", distribution).lower() == error.name:
            if file := program.one_file():
                return Problem(
                    f"needs parts that are not in {file} ({distribution}): use an install of segwatch[{extra}]"
                )
            is_packaged = sys.prefix == str(PACKAGED_VENV)
            by = f"apt install segwatch-{extra}" if is_packaged else f"pip install 'segwatch[{extra}]'"
            return Problem(f"needs parts that are not installed ({distribution}): {by}")
    return None
