"""segwatch on the machines: installed, started, and asked."""

from __future__ import annotations

import json
from typing import Any

from tests.support.paths import ROOT
from tests.systemd.machines import Estate, Machine

TOPOLOGY = ROOT / "tests/systemd/topology.yaml"
AGENT, COORDINATOR, VERIFY = "segwatch-agent.service", "segwatch-coordinator.service", "segwatch-verify.service"
STATE = "/var/lib/segwatch"
KEYED = """
cd /root
segwatch pki init --dir pki -f topology.yaml
"""
INSTALLED = """
cd /root
segwatch install coordinator -f topology.yaml --pki pki --listen 10.0.0.10:8883
segwatch install verify-timer --on-calendar daily
"""
BUNDLES = """
cd /tmp
rm -f dev-1.tar prod-1.tar
for agent in dev-1 prod-1; do
  runuser -u segwatch-coordinator -- segwatch pki agent $agent --dir /etc/segwatch/pki -f /etc/segwatch/topology.yaml \
    --out $agent.tar
done
"""


def install_coordinator(core: Machine) -> str:
    """Keys, units, users, state; what was said."""
    core.put("/root/topology.yaml", TOPOLOGY.read_bytes())
    core.shell(KEYED)
    return core.shell(INSTALLED)


def start_coordinator(core: Machine) -> None:
    """As docs/systemd.md has it; once it has run, bundles know where it is."""
    core.shell("systemctl enable --now segwatch-coordinator segwatch-verify.timer")
    core.until(f"segwatch matrix --state-dir {STATE}/coordinator -o json", "the coordinator to answer")
    core.shell(BUNDLES)


def install_agent(machine: Machine, core: Machine) -> str:
    """Its bundle, unit, user, state; what was said."""
    machine.put("/root/bundle.tar", core.get(f"/tmp/{machine.name}.tar"))
    return machine.shell("chmod 0600 /root/bundle.tar && segwatch install agent --bundle /root/bundle.tar")


def start_agents(estate: Estate) -> None:
    """Each with its bundle. The service that the declared path leads to runs, too."""
    estate.prod.shell("systemctl --quiet is-active web || systemd-run --quiet --unit=web python3 -m http.server 8080")
    estate.prod.until("ss -Hltn sport = :8080 | grep LISTEN", "the web service")
    for machine in (estate.dev, estate.prod):
        install_agent(machine, estate.core)
        machine.shell("systemctl enable --now segwatch-agent")
    connected(estate)


def connected(estate: Estate) -> None:
    """Waits until the coordinator has seen both agents, after its own start and theirs."""
    for machine in (estate.dev, estate.prod):
        said = f"journalctl _PID=$({main_pid(AGENT)})"
        machine.until(f"{said} | grep '\"connected\"'", "the agent to be connected")
        online = f'journalctl _PID=$({main_pid(COORDINATOR)}) | grep \'"{machine.name}", "online": true\''
        estate.core.until(online, f"{machine.name} to be online")


def main_pid(unit: str) -> str:
    """The words of sh that print it."""
    return f"systemctl show --property=MainPID --value {unit}"


def show(machine: Machine, unit: str, name: str) -> str:
    """A property of a unit."""
    return machine.run("systemctl", "show", f"--property={name}", "--value", unit).strip()


def verify(core: Machine) -> tuple[int, str]:
    """The periodic test, now: its exit code as systemd has it, and its lines of this run in the journal."""
    core.run("systemctl", "start", VERIFY, code=None)
    run = show(core, VERIFY, "InvocationID")
    said = core.run("journalctl", "--output=cat", "--no-pager", f"_SYSTEMD_INVOCATION_ID={run}")
    return int(show(core, VERIFY, "ExecMainStatus")), said


def result(core: Machine) -> dict[str, Any]:
    """The result that the newest run left."""
    found: dict[str, Any] = json.loads(core.get(f"{STATE}/verify/result.json"))
    return found


def holds(machine: Machine, unit: str) -> dict[str, str]:
    """The main process of a unit, as its /proc/PID/status says."""
    text = machine.shell(f"cat /proc/$({main_pid(unit)})/status")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
