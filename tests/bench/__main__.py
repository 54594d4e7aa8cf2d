"""`make bench`: segwatch beside its peers over the same cells in the same run. Prints what docs/benchmarks.md keeps.

Only ratios are worth keeping: seconds move from machine to machine. `python -m tests.bench open drop` runs some parts alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from lab.estate import Estate
from lab.system import System
from reachability.vocabulary import Protocol, State
from tests.bench.comparison import compared
from tests.bench.dark import dropped
from tests.bench.datagrams import udp
from tests.bench.engine import LISTENERS, Child, sweep
from tests.bench.files import files
from tests.bench.growing import growth
from tests.bench.hosts import NMAP, OPEN, RUNS, TARGET, UNLIMITED, control, plan
from tests.bench.idle import idle
from tests.bench.listeners import ports as listening
from tests.bench.losing import lossy
from tests.bench.masscan import RATES, masscan
from tests.bench.nonroot import without_capability
from tests.bench.peers import nmaps
from tests.bench.report import Row, ratio, table
from tests.bench.stopping import stopping
from tests.bench.store import store


def open_host() -> None:
    """65,535 TCP, one live host with 1,000 open ports, nothing in between dropped."""
    want = {(TARGET, port) for port in listening(OPEN)}
    with Estate(plan("accept")) as estate:
        control(estate)
        estate.spawn("prod-1", [sys.executable, str(LISTENERS), str(OPEN)])
        time.sleep(1)
        child = Child(estate, "dev-1", UNLIMITED)
        ours = Row("segwatch, the bare engine", [], [])
        sweep(child, [TARGET], Protocol.TCP)
        for _ in range(2 * RUNS):
            swept = sweep(child, [TARGET], Protocol.TCP)
            ours.seconds.append(swept.seconds)
            answered = len(swept.ports(State.CLOSED)) + OPEN
            ours.wrong.append(len(swept.ports(State.OPEN) ^ want) + abs(65535 - answered))
        ours.note = f"{child.peak_mib():.0f} MiB at most"
        peers = nmaps(estate, NMAP, "nmap", want)
        for rate in RATES:
            row = Row(f"masscan --rate {rate}, 1 s for late answers", [], [])
            for _ in range(RUNS):
                scanned = masscan(estate, (TARGET,), rate)
                row.seconds.append(scanned.seconds)
                row.wrong.append(len(scanned.opened ^ want))
            peers.append(row)
        table(f"65,535 TCP, one live host with {OPEN:,} open ports", [ours, *peers])
        ratio(ours, peers)


def whole() -> None:
    """`verify --sweep` of one boundary: both protocols and families, every port, verdicts in the store."""
    rows = [
        _whole("segwatch verify --sweep", "4s"),
        _whole("the same, all copies at once: probing.spread 100ms", "100ms"),
    ]
    table("One boundary, every port, both protocols, both families, verdicts in the store", rows)


def _whole(name: str, spread: str) -> Row:
    text = f"""version: 1
environments:
  dev:
    networks: [10.10.0.0/24, "fd00:10::/64"]
    agents: {{dev-1: {{addresses: [10.10.0.10, "fd00:10::10"]}}}}
  prod:
    networks: [10.30.0.0/24, "fd00:30::/64"]
    agents: {{prod-1: {{addresses: [{TARGET}, "fd00:30::10"]}}}}
probing: {{spread: {spread}, every: 1h, confirm: 1, rate_pps: {UNLIMITED}, flows: 1000000000, sweep: {{every: 24h, ports: [tcp/1-65535, udp/1-65535]}}}}
"""
    with Estate(plan()) as estate:
        system = System(estate, text, {"dev-1": "dev-1", "prod-1": "prod-1"})
        system.deploy()
        system.wait_for(lambda: len(system.connected()) == 2, "the agents")  # noqa: PLR2004
        system.verify()
        row = Row(name, [], [])
        for _ in range(RUNS):
            began = time.monotonic()
            _, body = system.verify("--sweep", "--from", "dev", "--to", "prod")
            row.seconds.append(time.monotonic() - began)
            summary = body["summary"]
            row.wrong.append(sum(number for result, number in summary.items() if result != "pass"))
            row.note = f"{summary['pass']:,} cells proven closed"
    return row


PARTS: dict[str, Callable[[], None]] = {
    "open": open_host,
    "drop": dropped,
    "udp": udp,
    "loss": lossy,
    "growth": growth,
    "whole": whole,
    "nonroot": without_capability,
    "compare": compared,
    "files": files,
    "store": store,
    "stop": stopping,
    "idle": idle,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()
