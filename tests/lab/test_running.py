"""A system that runs: holes that come and go, agents that fall silent, files that change, processes that end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.system import SEGWATCH, System
from tests.lab.small import AGENTS, REG, running, topology, verify

pytestmark = pytest.mark.lab

PERIOD_S = 12.0
HOLE = f"ip saddr 10.10.0.0/24 ip daddr {REG} tcp dport 5000 accept"


def finding(system: System, *, service: str = "registry") -> dict[str, Any] | None:
    """The finding about a service."""
    found = system.api("findings") or []
    return next((f for f in found if f["destination"]["service"] == service), None)


def test_a_hole_is_found_within_a_period_and_resolves_when_it_is_closed() -> None:
    with running(text=topology(every=f"{PERIOD_S:.0f}s")) as system:
        code, _ = system.verify()
        assert code == 0
        time.sleep(PERIOD_S)  # let the schedule find its pace
        for _ in range(2):
            opened = time.monotonic()
            system.estate.rules([HOLE])
            system.wait_for(lambda: (f := finding(system)) and f["status"] != "resolved", "the finding", 2 * PERIOD_S)
            assert time.monotonic() - opened <= PERIOD_S + 4
            system.estate.rules([])
            system.wait_for(lambda: (f := finding(system)) and f["status"] == "resolved", "its end", 2 * PERIOD_S)
        found = system.ask("findings")
        assert len(found) == 1, "the same hole is the same finding"
        said = [event["what"] for event in system.ask("history")]
        assert said.count("opened") == 1
        assert said.count("reopened") == 1
        assert said.count("resolved") == 2


def test_a_silent_agents_cells_go_stale_and_are_never_green() -> None:
    period_s = 8
    with running(text=topology(every=f"{period_s}s")) as system:
        system.wait_for(lambda: system.api("status")["coverage"] == 1.0, "full coverage", 60)
        system.kill("dev-1")
        killed = time.monotonic()

        def results() -> set[str]:
            cells = system.ask("matrix", "--cells")["cells"]
            return {cell["result"] for cell in cells if cell["agent"] == "dev-1" and cell["required"]}

        system.wait_for(lambda: results() == {"stale"}, "stale cells", 3 * period_s + 8)
        assert time.monotonic() - killed < 3 * period_s + 10
        pairs = {(p["source"], p["destination"]): p for p in system.ask("coverage")["pairs"]}
        assert pairs["dev", "prod"]["coverage"] == 0
        system.start_agent("dev-1")
        system.wait_for(lambda: results() == {"pass"}, "fresh cells", 60)


def test_a_changed_topology_is_taken_up_and_a_broken_one_refused() -> None:
    with running([HOLE]) as system:
        outcome = verify(system, "--from", "dev", "--to", "prod")
        assert outcome.code == 1
        good = system.topology.read_text()
        allowed = topology(
            paths="paths:\n  - {name: p, from: dev, to: prod.registry, owner: me, justification: needed}\n"
        )
        system.topology.write_text(allowed)
        # What was observed is judged again under the new declaration, with no new packet.
        system.wait_for(lambda: (f := finding(system)) is None or f["status"] == "resolved", "the new topology", 15)
        digest = system.api("status")["topology"]["digest"]
        system.topology.write_text(good.replace("networks", "netwroks"))
        refused = system.wait_for(lambda: system.api("status")["topology_refused"], "the refusal")
        assert any("did you mean 'networks'?" in error for error in refused["errors"])
        assert system.api("status")["topology"]["digest"] == digest
        system.topology.write_text(good)
        system.wait_for(lambda: system.api("status")["topology"]["digest"] != digest, "the good one")
        assert system.api("status")["topology_refused"] is None


def test_processes_end_and_start_again() -> None:
    with running([HOLE]) as system:
        verify(system, "--from", "dev", "--to", "prod")
        before = finding(system)
        assert before is not None
        second = system.cli(
            "coordinator", "-f", "topology.yaml", "--pki", "pki", "--listen", "10.0.0.10:8884", "--state-dir", "state"
        )
        assert second.returncode == 2
        assert "in use by another coordinator" in second.stderr
        for name in ("coordinator", "dev-1", "prod-1"):
            system.kill(name)
        left = _processes(system)
        assert not [line for line in left if "nats-server" in line], left
        assert sum("probes.child" in line for line in left) <= 2, "those of the agents that still run"
        system.start_coordinator()
        for name in ("dev-1", "prod-1"):
            system.start_agent(name)
        system.wait_for(lambda: system.connected() == set(AGENTS), "everybody")
        after = finding(system)
        assert after is not None
        assert (after["id"], after["first_seen"]) == (before["id"], before["first_seen"])
        for name in list(system.processes):
            began = time.monotonic()
            assert system.stop(name) == 0, name
            assert time.monotonic() - began < 2.0, name
        assert not [line for line in _processes(system) if "segwatch" in line or "nats" in line or "probes" in line]


def _processes(system: System) -> list[str]:
    system.wait_for(lambda: True, "nothing")
    time.sleep(0.3)
    said = system.estate.run("", ["ps", "-eo", "pid,args"]).check().stdout
    return [line for line in said.splitlines() if "ps -eo" not in line]


MOST_MIB = 36


def test_an_idle_agent_is_small_and_opens_nothing_but_its_connection() -> None:
    text = topology().replace("probing: {", "probing: {sweep: {every: 24h, ports: [tcp/1-200, udp/1-60]}, ")
    with running(text=text) as system:
        code, _ = system.verify("--sweep")
        assert code in {0, 3}
        pid = _outer_pid(system, "dev-1")
        # The packet child ends once there is nothing to do; the daemon gives back what the sweep took.
        system.wait_for(lambda: not psutil.Process(pid).children(recursive=True), "the packet child's end", 60)
        time.sleep(1)
        system.wait_for(lambda: _rss_mib(pid) <= MOST_MIB, f"at most {MOST_MIB} MiB, not {_rss_mib(pid):.1f}", 45)
        listening = system.estate.run("dev-1", ["ss", "-Htulpn"]).check().stdout
        assert "python" not in listening
        assert "segwatch" not in listening
        open_ = system.estate.run("dev-1", ["ss", "-Htupn", "state", "established"]).check().stdout.splitlines()
        assert len([line for line in open_ if "10.0.0.10:8883" in line]) == 1, open_


def _rss_mib(pid: int) -> float:
    """All of its processes together."""
    root = psutil.Process(pid)
    return sum(p.memory_info().rss for p in (root, *root.children(recursive=True))) / 2**20


def _outer_pid(system: System, agent: str) -> int:
    """The agent's process as this test sees it, by the state directory in its command line."""
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if f"state-{agent}" in line and "agent" in line and Path(process.cwd()) == system.directory:
            return int(process.pid)
    raise AssertionError(f"{agent} does not run")


def test_an_environment_that_may_reach_everything_does_not_unsettle_the_others() -> None:
    """Its packets through the kernel carry no token, and come while another's round still listens."""
    paths = (
        "paths:\n  - {name: monitoring, from: stage, to: prod, expect: allowed, owner: ops, justification: sees all}\n"
    )
    with running(["ip saddr 10.20.0.0/24 ip daddr 10.30.0.0/24 accept"], text=topology(paths=paths)) as system:
        for _ in range(2):
            outcome = verify(system, "--to", "prod")
            assert (outcome.code, outcome.body["summary"]["fail"]) == (0, 0)
        assert '"challenge"' not in system.log("coordinator")


def test_an_interrupted_verify_shows_what_it_has_and_stops_probing() -> None:
    text = topology().replace("probing: {", "probing: {sweep: {every: 24h, ports: [tcp/1-65535]}, ")
    with running([HOLE], text=text) as system:
        asked = ["verify", "--state-dir", "state", "--sweep", "-o", "json"]
        command = ["timeout", "--preserve-status", "-s", "INT", "12", str(SEGWATCH), *asked]
        began = time.monotonic()
        done = system.estate.run("coordinator", command, cwd=system.directory, timeout_s=60)
        assert time.monotonic() - began < 25
        body = json.loads(done.stdout)
        assert (done.returncode, body["result"]) == (1, "fail"), "the cycle was through, and had found the hole"
        assert body["summary"]["not_run"] > 100_000
        before = sent_by(system, "dev-1")
        time.sleep(2)
        assert sent_by(system, "dev-1") - before < 200, "nothing is swept any more"
        assert system.api("status")["stopped"] is None
        assert verify(system).code == 1


def sent_by(system: System, host: str) -> int:
    """Packets that the host has sent so far."""
    said = system.estate.run(host, ["cat", "/sys/class/net/eth0/statistics/tx_packets"]).check().stdout
    return int(said)
