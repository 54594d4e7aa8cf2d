"""The daemon of the compose test's own: nothing of it is left, however the test ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.compose

HOLDS = """
import time
from tests.compose.docker import docker
with docker() as engine:
    print(engine.is_own, engine.directory, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Where it puts its files; a socket's path has 107 characters at most, and pytest's own directories leave few of them."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a Docker daemon")
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_of_a_daemon_whose_test_is_ended(number: int, place: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(place), "DOCKER_HOST": f"unix://{place}/none"}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    ) as running:
        assert running.stdout is not None
        is_own, _, directory = running.stdout.readline().strip().partition(" ")
        assert is_own == "True"
        mine = psutil.Process(running.pid).children(recursive=True)
        assert any("containerd" in " ".join(process.cmdline()) for process in mine)
        running.send_signal(number)
        running.communicate(timeout=30)
    _, alive = psutil.wait_procs(mine, 10)
    assert not alive, [process.cmdline() for process in alive]
    assert directory not in Path("/proc/self/mountinfo").read_text(), "its mounts are gone"
    if number != signal.SIGKILL:
        assert list(place.iterdir()) == [], "its files are gone too"


def test_a_daemon_that_does_not_start_is_said_and_leaves_nothing(place: Path) -> None:
    broken = place / "bin"
    broken.mkdir()
    (broken / "dockerd").write_text("#!/bin/sh\necho 'no space left on device' >&2\nexit 7\n")
    (broken / "dockerd").chmod(0o755)
    environment = {
        **os.environ, "TMPDIR": str(place), "DOCKER_HOST": f"unix://{place}/none", "PATH": f"{broken}:{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", HOLDS],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert "dockerd ended with 7" in done.stderr
    assert "no space left on device" in done.stderr
    shutil.rmtree(broken)
    assert list(place.iterdir()) == []
