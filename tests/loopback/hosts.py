"""Hosts that enrol themselves at a coordinator's process, by the command line."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.loopback.coordinators import SEGWATCH, Running
from tests.support.waiting import HANG_S

TOPOLOGY = """\
version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
    agents: {dev-1: {addresses: [10.10.0.10]}}
  prod:
    networks: [10.30.0.0/24]
    agents: {prod-1: {}}
"""


def token(running: Running, name: str = "dev-1") -> str:
    made = running.cli("pki", "join-token", name, "--for", "1h", "--dir", "pki", "-f", "topology.yaml", "-q")
    assert made.returncode == 0, made.stderr
    return made.stdout


def join(line: str, state: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [SEGWATCH, "agent", "join", "--token-file", "-", "--state-dir", str(state), *more]
    return subprocess.run(command, input=line, capture_output=True, text=True, timeout=HANG_S, check=False)
