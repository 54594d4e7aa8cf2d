"""`segwatch` and `segwatch[all]`, each installed into a bare venv by pip and run: what is there, and what is said of what is not."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.wheelhouse import bare_venv, wheelhouse

HELP = """
from cli.main import VERBS, cli
for verb in VERBS:
    try:
        cli.main([verb, "--help"])
    except SystemExit as ended:
        assert not ended.code, verb
"""
EVERY = """
import importlib, pkgutil, sys
for room in sys.argv[1:]:
    for module in pkgutil.walk_packages(importlib.import_module(room).__path__, room + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""
FOUND = """
import importlib.util, json, sys
print(json.dumps([name for name in sys.argv[1:] if importlib.util.find_spec(name)]))
"""
# An agent's host has none of these; the first three are what some of the others need.
PARTS = (
    "yarl",
    "attrs",
    "pygments",
    "aiohttp",
    "jinja2",
    "jsonschema",
    "prometheus_client",
    "psutil",
    "rich",
    "textual",
)


@dataclass(frozen=True, slots=True)
class Installed:
    """A venv; what is run there sees nothing of this checkout."""

    programs: Path
    directory: Path

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.programs}:{os.environ['PATH']}", "HOME": str(self.directory)}
        command = [str(self.programs / program), *arguments]
        return subprocess.run(
            command, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def segwatch(self, *arguments: str, code: int = 0) -> str:
        """What it prints, where it ends with this code; no traceback in any case."""
        done = self.run("segwatch", *arguments)
        printed = done.stdout + done.stderr
        assert (done.returncode, "Traceback" in printed) == (code, False), printed
        return printed


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheelhouse(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def whole(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    directory = tmp_path_factory.mktemp("whole")
    return Installed(bare_venv(directory / "venv", wheels, "segwatch[all]"), directory)


@pytest.fixture(scope="module")
def plain(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    directory = tmp_path_factory.mktemp("plain")
    return Installed(bare_venv(directory / "venv", wheels, "segwatch"), directory)


def test_the_whole_runs_every_part(whole: Installed) -> None:
    assert json.loads(whole.run("python", "-c", FOUND, *PARTS).stdout) == [*PARTS]
    assert whole.run("nats-server", "--version").stdout.startswith("nats-server: v")
    assert "Start with: segwatch demo" in whole.segwatch("--help")
    assert "The daemon in the middle" in whole.segwatch("coordinator", "--help")
    assert "4 environments" in whole.segwatch("topology", "check", str(ROOT / "topology.yaml"))
    imported = whole.run("python", "-c", EVERY, "coordinator", "lab", "cli")
    assert imported.returncode == 0, imported.stderr


def test_a_plain_install_is_an_agent_and_its_commands(plain: Installed, whole: Installed, tmp_path: Path) -> None:
    assert json.loads(plain.run("python", "-c", FOUND, *PARTS).stdout) == []
    assert not (plain.programs / "nats-server").exists()
    helped = plain.run("python", "-c", HELP)
    assert helped.returncode == 0, helped.stderr
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert "open" in plain.segwatch("probe", "tcp", f"127.0.0.1:{listening.getsockname()[1]}")
    assert "segwatch try: " in plain.segwatch("try", "try1.cut-off", code=2)
    for verb in ("matrix", "verify", "findings"):
        assert "no state directory absent" in plain.segwatch(verb, "--state-dir", "absent", code=2)
    topology, pki, bundle = str(ROOT / "topology.yaml"), str(tmp_path / "pki"), str(tmp_path / "dev-1.tar")
    whole.segwatch("pki", "init", "--dir", pki, "-f", topology)
    broker = ("--broker", "mqtts://127.0.0.1:1")  # nobody listens there
    whole.segwatch("pki", "agent", "dev-1", "--dir", pki, "-f", topology, *broker, "--out", bundle)
    checked = plain.segwatch("agent", "--check", "--bundle", bundle, "--state-dir", str(tmp_path / "state"), code=1)
    assert "segwatch agent dev-1 of dev" in checked
    assert re.search(r"LACKS +broker +mqtts://127\.0\.0\.1:1", checked)
    planned = plain.segwatch(
        "install",
        "agent",
        "--bundle",
        bundle,
        "--dry-run",
        "--root",
        str(tmp_path),
        "--program",
        "/opt/segwatch/bin/segwatch",
    )
    assert "segwatch-agent.service" in planned
    imported = plain.run("python", "-c", EVERY, "reachability", "wire", "probes", "agent", "cli.agent", "cli.trial")
    assert imported.returncode == 0, imported.stderr


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("coordinator",), "aiohttp"),
        (("demo",), "aiohttp"),
        (("topology", "check", str(ROOT / "topology.yaml")), "jsonschema"),
        (("plan", "-f", str(ROOT / "topology.yaml")), "jsonschema"),
        (("pki", "init", "--dir", "pki", "-f", str(ROOT / "topology.yaml")), "jsonschema"),
    ],
)
def test_a_command_whose_part_is_not_installed_says_which(
    plain: Installed, arguments: tuple[str, ...], part: str
) -> None:
    needs = f"needs parts that are not installed ({part}): pip install 'segwatch[coordinator]'\n"
    assert plain.segwatch(*arguments, code=2) == f"segwatch {arguments[0]}: {needs}"
