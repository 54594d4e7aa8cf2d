"""Whose word counts: a bundle on two hosts, a host that dies after it was controlled from inside, a witness that was suspended."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from lab.system import SEGWATCH, System
from tests.lab.small import (
    AGENTS,
    BEGUN,
    DEV,
    PROD,
    REG,
    SERVICES,
    TO_APP,
    Outcome,
    running,
    sent_by,
    topology,
    verify,
)

pytestmark = pytest.mark.lab


def agent_of(system: System, name: str) -> dict[str, Any]:
    status = system.api("status")
    return next(a for a in status["agents"] if a["name"] == name) if status else {}


def of(outcome: Outcome, agent: str) -> dict[tuple[str, str], int]:
    """(result, reason) of the cells that the agent is source or witness of, counted; the others have a witness or none."""
    found: dict[tuple[str, str], int] = {}
    for cell, entry in outcome.cells.items():
        if cell[0] == agent or cell[2] in AGENTS[agent]:
            said = entry["result"], entry["reason"]
            found[said] = found.get(said, 0) + 1
    return found


def copied(system: System, agent: str, host: str) -> Any:
    """The same bundle, installed on another host as well."""
    command = [str(SEGWATCH), "agent", "--bundle", f"{agent}.tar", "--state-dir", f"state-{agent}-copy"]
    with (system.directory / f"{agent}-copy.log").open("ab") as log:
        return system.estate.spawn(host, command, stdout=log, stderr=log, cwd=system.directory)


@pytest.mark.soak
def test_a_bundle_on_two_hosts_proves_nothing_and_is_named() -> None:
    """stage-b is not behind dev's firewall: what dev-1 sends from there says nothing of dev."""
    with running([TO_APP]) as system:
        assert verify(system, "--from", "dev").says("dev-1", PROD, "tcp", 22)[:2] == ("pass", "blocked")
        process = copied(system, "dev-1", "stage-b")
        system.wait_for(lambda: agent_of(system, "dev-1")["two_holders"], "the second holder")
        standing = {c["result"] for c in system.ask("matrix", "--cells")["cells"] if c["agent"] == "dev-1" and c["row"]}
        assert standing == {"inconclusive"}, "what was green is no more, at once"
        outcome = verify(system)
        assert {result for result, _ in of(outcome, "dev-1")} <= {"inconclusive", "not-run"}
        # Not even tried, where the two took the connection from each other all the time.
        said = {
            outcome.says("dev-1", PROD, "tcp", 8000),
            outcome.says("stage-1", AGENTS["dev-1"][0], "tcp", 22),  # as a witness, too
        }
        assert {(result, reason) for result, _, _, _, reason in said} <= {
            ("inconclusive", "two-holders"),
            ("not-run", None),
        }, said
        assert outcome.says("stage-1", PROD, "tcp", 22)[:2] == ("pass", "blocked"), "the others go on"
        assert outcome.code == 3
        text = system.cli("verify", "--state-dir", "state", "--from", "prod", "--to", "stage").stdout
        assert "segwatch pki revoke dev-1" in text
        process.kill()


@contextlib.contextmanager
def sending(system: System) -> Iterator[Future[Outcome]]:
    """A verify from dev to prod, once dev-1 sends: who controls from inside has asked by then, and prod's witnesses listen."""
    before = sent_by(system, "dev-1")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(verify, system, "--from", "dev", "--to", "prod")
        system.wait_for(lambda: sent_by(system, "dev-1") > before + BEGUN, "the first probes")
        yield asked


def test_a_host_that_dies_after_it_was_controlled_from_inside_is_not_controlled() -> None:
    with running() as system, sending(system) as asked:
        system.estate.run("reg", ["ip", "link", "set", "eth0", "down"]).check()
        outcome = asked.result()
        said = {
            (e["result"], e["reason"])
            for c, e in outcome.cells.items()
            if c[0] == "dev-1" and c[2] == REG and c[3] == "tcp"
        }
        assert said == {("inconclusive", "inside-once")}
        assert outcome.says("dev-1", PROD, "tcp", 22)[:2] == ("pass", "blocked")


FLOOD = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(100_000):  # the ring has a third as many slots
    s.sendto(b"x" * 32, ("{PROD}", 9999))
"""
SINK = "      metrics: {hosts: [10.30.0.10], ports: [udp/8125]}"
TO_SINK = f"ip saddr 10.10.0.0/24 ip daddr {PROD} udp dport 8125 accept"


@pytest.mark.parametrize("overrun", [False, True], ids=["its ring has all", "its ring is overrun"])
def test_a_witness_that_was_suspended_while_the_source_sent_takes_nothing_for_closed(overrun: bool) -> None:  # noqa: FBT001
    """The service says nothing, so that the witness alone can tell that its port is open."""
    services = {**SERVICES, "prod-1": (*SERVICES["prod-1"], ("sink", 8125))}
    with running([TO_SINK], text=topology(services=SINK), services=services) as system:
        with sending(system) as asked:
            child = child_of(system, "prod-1")
            send(system, child, "STOP")
            quiet, sent = 0.0, sent_by(system, "dev-1")
            while quiet < QUIET_S:
                time.sleep(0.5)
                now = sent_by(system, "dev-1")
                quiet, sent = (quiet + 0.5 if now - sent < A_FEW else 0.0), now
            if overrun:
                system.estate.run("prod-2", [sys.executable, "-c", FLOOD]).check()
            send(system, child, "CONT")
            outcome = asked.result()
        result, reachability, *_ = outcome.says("dev-1", PROD, "udp", 8125)
        assert result != "pass"
        if overrun:
            without = outcome.evidence(("dev-1", DEV, PROD, "tcp", 23))
            assert outcome.says("dev-1", PROD, "tcp", 23)[1:4] == ("no-session", "controlled", 16), without
            assert outcome.says("dev-1", PROD, "udp", 53)[0] == "inconclusive"
        else:
            assert reachability == "one-way", "all was read before it said what it saw"


QUIET_S, A_FEW = 1.0, 20  # the broker's connection goes on


def child_of(system: System, agent: str) -> str:
    """The process id of its packet child, in the lab."""
    pid = system.processes[agent].pid
    found = system.estate.run("", ["cat", f"/proc/{pid}/task/{pid}/children"]).check().stdout.split()
    (child,) = (one for one in found if "probes.child" in system.estate.run("", ["cat", f"/proc/{one}/cmdline"]).stdout)
    return child


def send(system: System, pid: str, what: str) -> None:
    system.estate.run("", ["kill", f"-{what}", pid]).check()
