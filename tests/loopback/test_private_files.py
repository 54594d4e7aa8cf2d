"""What a coordinator and an agent keep is their user's alone, whatever the umask and the folder that somebody made for them."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

from tests.loopback.coordinators import SEGWATCH, coordinator
from tests.support.waiting import wait_for

OPEN = "import os; os.umask(0)"
OF_COORDINATOR = {
    "store.sqlite",
    "store.sqlite-wal",
    "store.sqlite-shm",
    "lock",
    "token",
    "coordinator.sock",
    "broker.conf",
    "broker.log",
}
OF_AGENT = {
    "agent.json",
    "agent.key",
    "agent.sign",
    "lock",
    "spool.sqlite",
    "spool.sqlite-wal",
    "spool.sqlite-shm",
    "spool.sqlite.lost",
    "clock",
}


def modes(directory: Path) -> dict[str, int]:
    """Of all that is no directory."""
    found = {path: path.lstat().st_mode for path in directory.rglob("*")}
    return {path.name: stat.S_IMODE(mode) for path, mode in found.items() if not stat.S_ISDIR(mode)}


def test_all_that_they_write_is_0600(tmp_path: Path) -> None:
    for name in ("state", "agent"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    (tmp_path / "agent" / "clock").write_text("0 0")  # as a version of before left it
    (tmp_path / "agent" / "clock").chmod(0o644)
    with coordinator(tmp_path, OPEN) as running:
        arguments = running.process.args
        assert isinstance(arguments, list)
        listen = arguments[arguments.index("--listen") + 1]
        made = running.cli(
            "pki",
            "agent",
            "dev-1",
            "--dir",
            "pki",
            "-f",
            "topology.yaml",
            "--broker",
            f"mqtts://{listen}",
            "--out",
            "dev-1.tar",
        )
        assert made.returncode == 0, made.stderr
        command = [SEGWATCH, "agent", "--bundle", "dev-1.tar", "--state-dir", "agent", "--log", "json"]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, umask=0) as agent:
            try:
                wait_for(lambda: agent.poll() is not None or _is_connected(running.request("GET", "/api/v1/status")[1]))
                assert agent.poll() is None, agent.stderr.read() if agent.stderr else ""
                wait_for(lambda: modes(tmp_path / "agent").keys() >= OF_AGENT)
                wait_for(lambda: (tmp_path / "agent" / "clock").read_text() != "0 0")
                of_coordinator, of_agent = modes(tmp_path / "state"), modes(tmp_path / "agent")
            finally:
                agent.terminate()
    assert of_coordinator.keys() >= OF_COORDINATOR
    for found in (of_coordinator, of_agent):
        assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}
    keys = {name: mode for name, mode in modes(tmp_path / "pki").items() if name.endswith(".key")}
    assert keys
    assert set(keys.values()) == {0o600}


def _is_connected(status: str) -> bool:
    return any(agent["state"] == "connected" for agent in json.loads(status)["agents"])
