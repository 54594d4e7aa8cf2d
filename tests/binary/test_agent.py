"""The file as an agent: rounds between hosts without Python, `--check`, `try`, its unit, names as the host resolves them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.estate import Estate
from lab.sealed import Process
from lab.system import SEGWATCH, System
from tests.binary.roots import CACHE, ENTER, PATH, PROGRAM, Host
from tests.lab.services import serve
from tests.lab.small import AGENTS, DEV, PROD, PROD2, SERVICES, TO_APP, assert_honest, at, plan, topology, verify
from tests.lab.story import told
from tests.support.paths import ROOT

pytestmark = pytest.mark.binary

BARE = ("dev-1", "prod-1")  # these agents are the file on a host without Python; the other two run from the venv
LAB = "lab"  # where the estate's directory is in the root
RAW = 1 << 13


class Bare(System):
    """Some of the agents run in the root."""

    def __init__(self, estate: Estate, text: str, host: Host) -> None:
        super().__init__(estate, text, {agent: agent for agent in AGENTS})
        self._host = host
        (host.root / LAB).mkdir(exist_ok=True)

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command as it is entered, with the estate's directory at `LAB`."""
        first = f"mount --bind {self.directory} {LAB}"
        return ["sh", "-euc", ENTER, str(self._host.root), first, "", "env", f"PATH={PATH}", *command]

    def start_agent(self, agent: str) -> None:
        """The file, where the agent is one of the bare ones."""
        if agent not in BARE:
            super().start_agent(agent)
            return
        given = ["agent", "--bundle", f"/{LAB}/{agent}.tar", "--state-dir", f"/{LAB}/state-{agent}", "--log", "json"]
        with (self.directory / f"{agent}.log").open("ab") as log:
            command = self.inside([PROGRAM, *given])
            self.processes[agent] = self.estate.spawn(self.agents[agent], command, stdout=log, stderr=log)


def processes(system: System, agent: str) -> list[dict[str, Any]]:
    """What runs of the file on an agent's host: name, command line, rss_kb."""
    found = []
    for pid in system.estate.run("", ["ip", "netns", "pids", agent]).check().stdout.split():
        said = system.estate.run("", ["cat", f"/proc/{pid}/status"]).check().stdout
        status = dict(line.split(":", 1) for line in said.splitlines())
        found.append(
            {"name": status["Name"].strip(), "capabilities": int(status["CapPrm"], 16), "rss": status["VmRSS"]}
        )
    return found


def test_a_round_between_hosts_without_python(host: Host) -> None:
    (host.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{PROD2} db.prod.internal\n")
    text = topology(services="      db: {hosts: [db.prod.internal], ports: [tcp/5432]}")
    with Estate(plan([TO_APP], {"db.prod.internal": PROD2})) as estate:
        for name, ports in SERVICES.items():
            serve(estate, name, ports)
        system = Bare(estate, text, host)
        system.deploy()
        with told(system):
            system.wait_for(lambda: system.connected() >= set(AGENTS), "the agents")
            idle = processes(system, "dev-1")
            assert [found["name"] for found in idle if found["capabilities"] == RAW] == ["segwatch"]
            outcome = verify(system)
            opened = at("dev-1", PROD, "tcp", 8000)
            assert_honest(outcome, lambda _: False, opened=opened.__contains__)
            assert outcome.says("dev-1", PROD, "tcp", 8000)[:3] == ("fail", "reachable", "replied")
            # Raw packets and a witness: what is dropped is proven by what did not arrive.
            assert outcome.says("dev-1", PROD, "tcp", 8001)[:3] == ("pass", "blocked", "witnessed")
            assert outcome.says("prod-1", DEV, "tcp", 8888)[:3] == ("pass", "blocked", "witnessed")
            # The name is in the root's own file.
            assert outcome.cell("dev-1", PROD2, "tcp", 5432)["service"] == "db"
            checked = estate.run(
                "dev-1", system.inside([PROGRAM, "agent", "--check", "--state-dir", f"/{LAB}/state-dev-1"])
            )
            print(checked.stdout, idle, outcome.code)
            for line in ("holds  raw packets", "holds  broker", "holds  privileges", "holds  sandbox"):
                assert line in checked.stdout, checked
            assert checked.returncode == 0
            assert [system.stop(agent) for agent in BARE] == [0, 0]
    assert len(host.unpacked()) == 1
