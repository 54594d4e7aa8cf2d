"""What `segwatch --version -v` says: what runs here, and the program of the embedded broker."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

NATS_VARIABLE = "SEGWATCH_COORDINATOR_NATS_SERVER"
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_OF_ALL = re.compile(r"""extra\s*==\s*['"](all|dev)['"]""")
_ANSWERS_S = 10.0


def lines() -> Iterator[str]:
    """The lines, one a thing: its name, its version, where it is."""
    yield f"python {platform.python_version()}  {sys.executable}"
    yield f"openssl {ssl.OPENSSL_VERSION.split()[1]}, sqlite {sqlite3.sqlite_version}, {platform.system()} {platform.release()}"
    yield f"nats-server {_nats_server()}"
    for name in _libraries():
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} not installed"


def _libraries() -> list[str]:
    """What segwatch itself asks for: of every part, not of its development."""
    try:
        asked = requires("segwatch") or []
    except PackageNotFoundError:  # a checkout that nobody installed
        return []
    found = (_NAME.match(line) for line in asked if not _OF_ALL.search(line))
    return sorted({name[0] for name in found if name}, key=str.lower)


def _nats_server() -> str:
    """Version and place of what a coordinator would start, that the variable of --nats-server names or the wheel's."""
    try:
        from coordinator.broker.embedded import BrokerError, find_server  # noqa: PLC0415 - not every install has it
    except ModuleNotFoundError:
        return "not installed"
    named = os.environ.get(NATS_VARIABLE)
    try:
        program = find_server(Path(named) if named else None)
        asked = [str(program), "--version"]
        done = subprocess.run(asked, capture_output=True, text=True, errors="replace", timeout=_ANSWERS_S, check=False)
    except BrokerError as error:
        return str(error)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} does not say its version: {error}"
    said = re.search(r"v?(\d+\.[\w.+-]+)", done.stdout)
    return f"{said[1] if said else 'of an unknown version'}  {program}{f', named by {NATS_VARIABLE}' if named else ''}"
