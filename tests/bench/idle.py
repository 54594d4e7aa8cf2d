"""What an agent holds once a sweep is over and there is nothing to do."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from tests.lab.small import running, topology

PROMISED_MIB = 36
SETTLES_S = 60.0
SWEEPS = "probing: {sweep: {every: 365d, ports: [tcp/1-200, udp/1-60]}, "


def idle() -> None:
    """All processes of an agent together, from the end of a sweep until they give nothing back any more."""
    with running(text=topology().replace("probing: {", SWEEPS)) as system:
        system.verify("--sweep")
        root = next(p for p in psutil.process_iter(["cmdline"]) if _is_agent(p, system.directory))
        began, held = time.monotonic(), _held_mib(root)
        while held > PROMISED_MIB and time.monotonic() - began < SETTLES_S:
            time.sleep(1)
            held = _held_mib(root)
        print(
            f"\n### An idle agent\n\n{held:.1f} MiB after {time.monotonic() - began:.0f} s; promised: {PROMISED_MIB}."
        )


def _is_agent(process: psutil.Process, directory: Path) -> bool:
    try:
        return "state-dev-1" in (process.info["cmdline"] or ()) and Path(process.cwd()) == directory
    except psutil.Error:
        return False


def _held_mib(root: psutil.Process) -> float:
    return float(sum(p.memory_info().rss for p in (root, *root.children(recursive=True)))) / 2**20
