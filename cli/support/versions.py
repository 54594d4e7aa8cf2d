"""What is installed: segwatch, Python, the system, and all that segwatch depends on."""

from __future__ import annotations

import platform
import re
import subprocess
from datetime import datetime
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_ANSWER_S = 5.0


def versions(made: datetime) -> dict[str, Any]:
    """The body of `versions.json`; no name of a host or user is in it."""
    installed = dict(sorted(_depends("segwatch").items()))
    return {
        "made": made.isoformat(timespec="seconds"),
        "segwatch": installed.pop("segwatch", None),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "nats_server": _nats_server(),
        "distributions": installed,
    }


def _depends(root: str) -> dict[str, str | None]:
    """Distribution -> version, of it and all that it needs; null for what is not installed."""
    found: dict[str, str | None] = {}
    conditional: set[str] = set()
    waiting = [root]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            held = distribution(name)
        except PackageNotFoundError:
            found[name] = None
            continue
        found[name] = held.version
        for line in held.requires or ():
            need, condition = _NAME.match(line), line.partition(";")[2]
            part = name == root and "coordinator" in condition  # of segwatch itself, which need not be installed
            if need is not None and (part or "extra" not in condition):
                waiting.append(re.sub(r"[-_.]+", "-", need[0]).lower())
                conditional.update(waiting[-1:] if condition else ())
    # What is needed elsewhere alone, such as on another platform, need not be there.
    return {name: version for name, version in found.items() if version is not None or name not in conditional}


def _nats_server() -> str | None:
    """What the embedded broker's program says of itself; null where there is none."""
    from coordinator.broker.embedded import BrokerError, find_server  # noqa: PLC0415 - slow to import

    try:
        command = [str(find_server()), "--version"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (BrokerError, OSError, subprocess.SubprocessError, ValueError):
        return None
    return said.stdout.strip() or None
