"""A system that runs: holes that come and go, agents that fall silent, files that change, processes that end."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.system import CORE_HOST, SEGWATCH, System
from tests.lab.small import AGENTS, REG, running, sent_by, topology, verify
from tests.lab.story import told

pytestmark = pytest.mark.lab

PERIOD_S = 8.0
SWEPT = 5000  # packets: more than are left of a cycle
HOLE = f"ip saddr 10.10.0.0/24 ip daddr {REG} tcp dport 5000 accept"


@pytest.fixture(scope="module")
def scheduled() -> Iterator[System]:
    """All is closed, and the schedule comes round."""
    with running(text=topology(every=f"{PERIOD_S:.0f}s")) as system:
        yield system


def finding(system: System, *, service: str = "registry") -> dict[str, Any] | None:
    """The finding about a service."""
    found = system.api("findings") or []
    return next((f for f in found if f["destination"]["service"] == service), None)


def rounds(system: System) -> int:
    """Rounds from dev-1 to prod that are over, follow-ups left out."""
    said = (json.loads(line) for line in system.log("coordinator").splitlines() if line.startswith("{"))
    ended = [e for e in said if e.get("event") == "round" and e["kind"] == "normal"]
    return sum((e["source"], e["to"]) == ("dev-1", "prod") for e in ended)


def test_a_hole_is_found_within_a_period_and_resolves_when_it_is_closed(scheduled: System) -> None:
    system = scheduled
    with told(system):
        code, _ = system.verify()
        assert code == 0
        first = rounds(system)
        system.wait_for(lambda: rounds(system) > first, "the schedule to find its pace")
        for _ in range(2):
            opened, before = time.monotonic(), rounds(system)
            system.estate.rules([HOLE])
            system.wait_for(lambda: (f := finding(system)) and f["status"] != "resolved", "the finding")
            print(f"found after {time.monotonic() - opened:.1f} s, with a period of {PERIOD_S:.0f} s")
            # One round may have been under way; the next one sees it, and another may be over while this test looks.
            assert rounds(system) - before <= 3
            system.estate.rules([])
            system.wait_for(lambda: (f := finding(system)) and f["status"] == "resolved", "its end")
        found = system.ask("findings")
        assert len(found) == 1, "the same hole is the same finding"
        said = [event["what"] for event in system.ask("history")]
        assert said.count("opened") == 1
        assert said.count("reopened") == 1
        assert said.count("resolved") == 2


def test_a_silent_agents_cells_go_stale_and_are_never_green(scheduled: System) -> None:
    system = scheduled
    with told(system):
        system.wait_for(lambda: system.api("status")["coverage"] == 1.0, "full coverage")
        system.kill("dev-1")
        killed = time.monotonic()

        def results() -> set[str]:
            cells = system.api("matrix?cells=1")["cells"]
            return {cell["result"] for cell in cells if cell["agent"] == "dev-1" and cell["required"]}

        system.wait_for(lambda: results() == {"stale"}, "stale cells")
        print(f"stale after {time.monotonic() - killed:.1f} s, three periods are {3 * PERIOD_S:.0f} s")
        pairs = {(p["source"], p["destination"]): p for p in system.ask("coverage")["pairs"]}
        assert pairs["dev", "prod"]["coverage"] == 0
        system.start_agent("dev-1")
        system.wait_for(lambda: results() == {"pass"}, "fresh cells")


def test_a_changed_topology_is_taken_up_and_a_broken_one_refused() -> None:
    with running([HOLE]) as system:
        outcome = verify(system, "--from", "dev", "--to", "prod")
        assert outcome.code == 1
        good = system.topology.read_text()
        allowed = topology(
            paths="paths:\n  - {name: p, from: dev, to: prod.registry, owner: me, justification: needed}\n"
        )
        system.declare(allowed)
        # What was observed is judged again under the new declaration, with no new packet.
        system.wait_for(lambda: (f := finding(system)) is None or f["status"] == "resolved", "the new topology")
        digest = system.api("status")["topology"]["digest"]
        system.declare(good.replace("networks", "netwroks"))
        refused = system.wait_for(lambda: system.api("status")["topology_refused"], "the refusal")
        assert any("did you mean 'networks'?" in error for error in refused["errors"])
        assert system.api("status")["topology"]["digest"] == digest
        system.declare(good)
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
        system.wait_for(lambda: not _running(system, "nats-server"), "the broker's end")
        still = "packet children but of the agents that still run to end"
        system.wait_for(lambda: len(_running(system, "probes.child")) <= 2, still)
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
            print(f"{name} ended in {time.monotonic() - began:.1f} s")
        system.wait_for(lambda: not _running(system, "segwatch", "nats", "probes"), "the end of all that it started")


def _running(system: System, *names: str) -> list[str]:
    """Command lines of the lab that have one of these in them."""
    said = system.estate.run("", ["ps", "-eo", "pid,args"]).check().stdout
    return [line for line in said.splitlines() if "ps -eo" not in line and any(name in line for name in names)]


def test_an_idle_agent_has_no_child_and_opens_nothing_but_its_connection() -> None:
    """How much memory it holds then is the benchmarks' to say."""
    text = topology().replace("probing: {", "probing: {sweep: {every: 365d, ports: [tcp/1-200, udp/1-60]}, ")
    with running(text=text) as system:
        code, _ = system.verify("--sweep")
        assert code in {0, 3}
        pid = _outer_pid(system, "dev-1")
        # The packet child ends once there is nothing to do; the daemon gives back what the sweep took.
        system.wait_for(lambda: not psutil.Process(pid).children(recursive=True), "the packet child's end")
        listening = system.estate.run("dev-1", ["ss", "-Htulpn"]).check().stdout
        assert "python" not in listening
        assert "segwatch" not in listening
        open_ = system.estate.run("dev-1", ["ss", "-Htupn", "state", "established"]).check().stdout.splitlines()
        assert len([line for line in open_ if "10.0.0.10:8883" in line]) == 1, open_


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


@pytest.mark.long
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
    text = topology().replace("probing: {", "probing: {sweep: {every: 365d, ports: [tcp/1-65535]}, ")
    with running([HOLE], text=text) as system:
        asked = [str(SEGWATCH), "verify", "--state-dir", "state", "--sweep", "-o", "json"]
        with (system.directory / "asked").open("wb") as out:
            process = system.estate.spawn(CORE_HOST, asked, stdout=out, cwd=system.directory)
        system.wait_for(lambda: finding(system), "the hole, which the cycle finds")
        found = sent_by(system, "dev-1")
        system.wait_for(lambda: sent_by(system, "dev-1") > found + SWEPT, "the middle of the sweep")
        process.signal(signal.SIGINT)
        code = process.wait()
        body = json.loads((system.directory / "asked").read_text())
        assert (code, body["result"]) == (1, "fail"), "the cycle was through, and had found the hole"
        assert body["summary"]["not_run"] > 100_000
        # The sweep would go on for minutes.
        system.wait_for(lambda: in_two_seconds(system, "dev-1") < 200, "the sweep's end", 60)
        assert system.api("status")["stopped"] is None
        assert verify(system).code == 1


def in_two_seconds(system: System, host: str) -> int:
    """Packets that the host sends in a while."""
    before = sent_by(system, host)
    time.sleep(2)
    return sent_by(system, host) - before
