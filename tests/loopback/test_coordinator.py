"""The coordinator's process on loopback: its API, its socket, its signals. No agent is there, so nothing is probed."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SEGWATCH = str(Path(sys.executable).parent / "segwatch")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Running:
    """A coordinator in a directory of its own."""

    def __init__(self, directory: Path, process: subprocess.Popen[str], web: int) -> None:
        self.directory, self.process, self.web = directory, process, web

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SEGWATCH, *arguments], cwd=self.directory, capture_output=True, text=True, timeout=60, check=False
        )

    def request(self, method: str, path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.web, timeout=10)
        try:
            connection.request(method, path, b"{}" if method == "POST" else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@contextmanager
def coordinator(directory: Path) -> Iterator[Running]:
    shutil.copy(ROOT / "topology.yaml", directory)
    made = [SEGWATCH, "pki", "init", "--dir", "pki", "-f", "topology.yaml", "-q"]
    subprocess.run(made, cwd=directory, check=True, capture_output=True)
    web = free_port()
    command = [SEGWATCH, "coordinator", "-f", "topology.yaml", "--pki", "pki", "--listen", f"127.0.0.1:{free_port()}"]
    command += ["--web", f"127.0.0.1:{web}", "--state-dir", "state"]
    with subprocess.Popen(command, cwd=directory, stderr=subprocess.PIPE, text=True) as process:
        try:
            until = time.monotonic() + 20
            while not (directory / "state" / "coordinator.sock").exists():
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                assert time.monotonic() < until
                time.sleep(0.05)
            yield Running(directory, process, web)
        finally:
            process.terminate()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with coordinator(tmp_path) as made:
        yield made


def wait_for(ready: Any, within_s: float = 15.0) -> Any:
    until = time.monotonic() + within_s
    while not (found := ready()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def test_the_api_health_and_metrics(running: Running) -> None:
    wait_for(lambda: running.request("GET", "/healthz")[0] == 200)
    status, text = running.request("GET", "/metrics")
    assert status == 200
    assert 'segwatch_agent_up{environment="dev",agent="dev-1"} 0' in text
    assert 'segwatch_coverage_ratio{source="dev",destination="prod"} 0' in text
    assert re.search(r'segwatch_cells\{source="dev",destination="prod",result="not-run"\} [1-9]', text)
    for name in ("findings", "last_cycle_timestamp_seconds", "probe_duration_seconds"):
        assert f"# TYPE segwatch_{name}" in text
    for path in ("status", "matrix", "matrix?cells=1", "findings", "coverage", "history", "plan"):
        status, text = running.request("GET", f"/api/v1/{path}")
        assert status == 200, text
        json.loads(text)
    status, text = running.request("GET", "/api/v1/explain?from=dev-1&to=10.30.0.21&port=tcp/5000")
    assert (status, json.loads(text)["result"]) == (200, "not-run")
    for path in ("explain", "explain?finding=F-1", "runs/none", "findings/none", "nothing"):
        status, text = running.request("GET", f"/api/v1/{path}")
        assert status in {400, 404}
        assert json.loads(text)["error"]


def test_over_tcp_nothing_changes_without_the_token(running: Running) -> None:
    for path in ("verify", "trace", "stop", "resume", "findings/F-1/ack"):
        assert running.request("POST", f"/api/v1/{path}")[0] == 401
    assert running.request("GET", "/api/v1/status", Host="evil.example:80")[0] == 401, "a name that points here"
    token = (running.directory / "state" / "token").read_text().strip()
    assert running.request("POST", "/api/v1/resume", Authorization=f"Bearer {token}")[0] == 200
    assert running.request("POST", "/api/v1/resume", Authorization="Bearer x")[0] == 401
    for name in ("coordinator.sock", "token"):
        assert stat.S_IMODE((running.directory / "state" / name).stat().st_mode) == 0o600


def test_a_second_one_is_refused_and_sigterm_ends_the_first(running: Running) -> None:
    second = running.cli(
        "coordinator",
        "-f",
        "topology.yaml",
        "--pki",
        "pki",
        "--listen",
        f"127.0.0.1:{free_port()}",
        "--state-dir",
        "state",
    )
    assert second.returncode == 2
    assert f"in use by another coordinator (process {running.process.pid})" in second.stderr
    began = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(5) == 0
    assert time.monotonic() - began < 2.0
    assert not (running.directory / "state" / "coordinator.sock").exists()


def test_verify_says_which_agents_it_waited_for_and_proves_nothing_without_them(running: Running) -> None:
    done = running.cli("verify", "--state-dir", "state", "-o", "json", "--from", "dev", "--to", "prod")
    assert done.returncode == 3
    assert "waiting for dev-1" in done.stderr
    body = json.loads(done.stdout)
    assert (body["result"], body["coverage"], body["summary"]["pass"]) == ("inconclusive", 0.0, 0)
    assert body["summary"]["not_run"] > 0


def test_a_trace_needs_its_agent(running: Running) -> None:
    asked = ("--from", "dev-1", "--to", "10.30.0.21", "--port", "tcp/5000", "--trace", "--state-dir", "state")
    done = running.cli("explain", *asked)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().splitlines()[-1] == "segwatch explain: dev-1 is not connected"


def test_a_broken_topology_is_refused_and_a_sighup_looks_again(running: Running) -> None:
    path = running.directory / "topology.yaml"
    good = path.read_text()

    def refused() -> Any:
        return json.loads(running.request("GET", "/api/v1/status")[1])["topology_refused"]

    path.write_text(good + "\nnonsense: true\n")
    assert "unknown key 'nonsense'" in wait_for(refused)["errors"][0]
    path.write_text(good)
    running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: refused() is None)
