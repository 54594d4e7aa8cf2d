"""Two hosts with hundreds of ports whose packets the firewall lets through, to be swept; what comes out, against that."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from lab.estate import CORE_SEGMENT, Estate, Host, Plan, Segment
from lab.system import System
from tests.lab.columns import spans
from tests.lab.services import serve
from tests.lab.story import told
from tests.lab.truth import BRISK, GREEN, RED

DEV, LOSSY, CLEAN = "10.10.0.10", "10.30.0.10", "10.30.0.11"
MOST = 2000
OPEN = range(1001, 1301)  # their packets cross, and nothing listens but at the first
TOPOLOGY = f"""version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
    agents: {{dev-1: {{addresses: [{DEV}]}}}}
  prod:
    networks: [10.30.0.0/24]
    agents:
      prod-1: {{addresses: [{LOSSY}]}}
      prod-2: {{addresses: [{CLEAN}]}}
probing: {{{BRISK}, every: 365d, sweep: {{every: 365d, ports: [tcp/1-{MOST}]}}, rate_pps: 20000, flows: 1000000000, confirm: 1}}
"""
PLAN = Plan(
    (
        CORE_SEGMENT,
        Segment("dev", ("10.10.0.0/24",), (Host("dev-1", (f"{DEV}/24",)),)),
        Segment("prod", ("10.30.0.0/24",), (Host("prod-1", (f"{LOSSY}/24",)), Host("prod-2", (f"{CLEAN}/24",)))),
    ),
    (f"ip saddr 10.10.0.0/24 ip daddr 10.30.0.0/24 tcp dport {OPEN[0]}-{OPEN[-1]} accept",),
)


@contextlib.contextmanager
def running() -> Iterator[System]:
    """The estate with the whole system in it; something listens on the first of these ports of both hosts."""
    with Estate(PLAN) as estate:
        for host in "prod-1", "prod-2":
            serve(estate, host, [("tcp", port) for port in OPEN[:1]])
        system = System(estate, TOPOLOGY, {name: name for name in ("dev-1", "prod-1", "prod-2")})
        with told(system):
            system.deploy()
            yield system


def swept(system: System) -> list[dict[str, Any]]:
    """Sweep everything; the cells."""
    cells: list[dict[str, Any]] = system.verify("--sweep", "--cells")[1]["cells"]
    return cells


def judged(cells: list[dict[str, Any]], address: str) -> tuple[dict[str, int], list[str]]:
    """How many of the ports that are open, and of the others, came out how; what is wrong, in words."""
    count = {"open": 0, "found": 0, "closed": 0, "proven": 0}
    wrong = []
    for entry in cells:
        if (entry["agent"], entry["address"], entry["protocol"]) != ("dev-1", address, "tcp"):
            continue
        ports = {p for low, high in spans(entry["ports"]) for p in range(low, high + 1) if p <= MOST}
        opened, closed = ports & set(OPEN), ports - set(OPEN)
        said = f"{address}: {entry['reachability']} ({entry['proof']}, row {entry['row']}, {entry['reason']})"
        if opened and entry["reachability"] in GREEN:
            wrong.append(f"{len(opened)} falsely green {said}: {sorted(opened)[:9]}")
        if closed and entry["reachability"] in RED:
            wrong.append(f"{len(closed)} falsely red {said}: {sorted(closed)[:9]}")
        count["open"] += len(opened)
        count["found"] += len(opened) * (entry["reachability"] in RED)
        count["closed"] += len(closed)
        count["proven"] += len(closed) * (entry["reachability"] in GREEN)
    print(address, count)
    assert count["open"] == len(OPEN)
    return count, wrong
