"""`make bench`: segwatch beside its peers over the same cells in the same run. Prints what docs/benchmarks.md keeps.

Only ratios are worth keeping: seconds move from machine to machine. `python -m tests.bench open drop` runs some parts alone.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Callable

from lab.estate import CORE_SEGMENT, Estate, Host, Plan, Segment
from lab.system import System
from reachability.vocabulary import Protocol, State
from tests.bench.comparison import compared
from tests.bench.engine import LISTENERS, Child, sweep
from tests.bench.listeners import ports as listening
from tests.bench.report import Row, ratio, table

UNLIMITED = 1_000_000
RUNS, OPEN, MANY = 5, 1000, 16
TARGET, DARK = "10.30.0.10", tuple(f"10.30.0.{20 + n}" for n in range(MANY))
NMAP = ("nmap", "-n", "-Pn", "-sS", "-p1-65535")
SETTINGS = (
    ("-T4",),
    ("-T4", "--min-rate", "10000"),
    ("-T4", "--min-rate", "100000", "--max-retries", "2"),
    ("-T5", "--min-rate", "50000", "--max-retries", "3"),
    ("-T5", "--min-rate", "1000000", "--max-retries", "1"),
    ("-T5", "--min-rate", "1000000", "--max-retries", "0"),
)


def plan(*rules: str, hosts: tuple[Host, ...] = ()) -> Plan:
    """dev-1, a stateful router with these rules, prod-1."""
    own = Host("prod-1", (f"{TARGET}/24", "fd00:30::10/64"))
    dev = Host("dev-1", ("10.10.0.10/24", "fd00:10::10/64"))
    return Plan(
        (
            CORE_SEGMENT,
            Segment("dev", ("10.10.0.0/24", "fd00:10::/64"), (dev,)),
            Segment("prod", ("10.30.0.0/24", "fd00:30::/64"), (own, *hosts)),
        ),
        rules,
    )


def control(estate: Estate) -> None:
    """Something outside that answers."""
    estate.spawn("coordinator", [sys.executable, "-m", "http.server", "8883"])


def opened(out: str) -> set[tuple[str, int]]:
    """Open ports in nmap's `-oG -`."""
    return {
        (match[1], int(port))
        for match in re.finditer(r"Host: (\S+) .*?Ports: (.*)", out)
        for port in re.findall(r"(\d+)/open/tcp", match[2])
    }


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
        peers = []
        for setting in SETTINGS:
            row = Row(f"nmap {' '.join(setting)}", [], [])
            for _ in range(RUNS):
                began = time.monotonic()
                out = estate.run("dev-1", [*NMAP, *setting, "-oG", "-", TARGET], timeout_s=300).check().stdout
                row.seconds.append(time.monotonic() - began)
                row.wrong.append(len(opened(out) ^ want))
            peers.append(row)
        table(f"65,535 TCP, one live host with {OPEN:,} open ports", [ours, *peers])
        ratio(ours, peers)


def dropped() -> None:
    """65,535 TCP, 16 hosts behind drop."""
    cells = MANY * 65535
    with Estate(plan()) as estate:
        control(estate)
        child = Child(estate, "dev-1", UNLIMITED)
        one, proof = Row("segwatch, one copy", [], []), Row("segwatch, the copies that its rules ask for", [], [])
        rates = []
        for _ in range(RUNS):
            swept = sweep(child, DARK, Protocol.TCP, copies=1, most=1)
            one.seconds.append(swept.seconds)
            one.wrong.append(len(swept.ports(State.OPEN)) + len(swept.ports(State.CLOSED)))
            rates.append(swept.source.packets / swept.source.duration_s)
        swept = sweep(child, DARK, Protocol.TCP, copies=3)
        proof.seconds.append(swept.seconds)
        proof.wrong.append(len(swept.ports(State.OPEN)) + len(swept.ports(State.CLOSED)))
        proof.note = f"{swept.source.packets / cells:.1f} copies a cell; {child.peak_mib():.0f} MiB at most; one run"
        one.note = f"{statistics.median(rates):,.0f} packets/s, waiting for answers included"
        nmap = Row("nmap -T5, two probes a port", [], [])
        began = time.monotonic()
        rates_of_nmap = ["-T5", "--min-rate", "1000000", "--max-retries", "1"]
        out = estate.run("dev-1", [*NMAP, *rates_of_nmap, "-oG", "-", *DARK], timeout_s=600).check()
        nmap.seconds.append(time.monotonic() - began)
        nmap.wrong.append(len(opened(out.stdout)))
        nmap.note = "one run"
        table(f"65,535 TCP, {MANY} hosts behind drop", [one, proof, nmap])


def udp() -> None:
    """65,535 UDP with a witness; nmap extrapolated from 200 ports."""
    with Estate(plan("accept")) as estate:
        control(estate)
        source, witness = Child(estate, "dev-1", UNLIMITED), Child(estate, "prod-1", UNLIMITED)
        ours = Row("segwatch, one copy, with a witness", [], [])
        for _ in range(RUNS):
            swept = sweep(source, [TARGET], Protocol.UDP, copies=1, most=1, witness=witness)
            ours.seconds.append(swept.seconds)
            ours.wrong.append(65535 - len(swept.arrived()))
        ours.note = "0.6 s of it waits for answers"
        began = time.monotonic()
        estate.run("dev-1", ["nmap", "-n", "-Pn", "-sU", "-T4", "-p1-200", TARGET], timeout_s=600).check()
        took = (time.monotonic() - began) * 65535 / 200
        table("65,535 UDP, all let through", [ours, Row("nmap -sU -T4, extrapolated from 200 ports", [took], [0])])


def whole() -> None:
    """`verify --sweep` of one boundary: both protocols and families, every port, verdicts in the store."""
    text = f"""version: 1
environments:
  dev:
    networks: [10.10.0.0/24, "fd00:10::/64"]
    agents: {{dev-1: {{addresses: [10.10.0.10, "fd00:10::10"]}}}}
  prod:
    networks: [10.30.0.0/24, "fd00:30::/64"]
    agents: {{prod-1: {{addresses: [{TARGET}, "fd00:30::10"]}}}}
probing: {{every: 1h, confirm: 1, rate_pps: {UNLIMITED}, flows: 1000000000, sweep: {{every: 24h, ports: [tcp/1-65535, udp/1-65535]}}}}
"""
    with Estate(plan()) as estate:
        system = System(estate, text, {"dev-1": "dev-1", "prod-1": "prod-1"})
        system.deploy()
        system.wait_for(lambda: len(system.connected()) == 2, "the agents")  # noqa: PLR2004
        system.verify()
        row = Row("segwatch verify --sweep", [], [])
        for _ in range(RUNS):
            began = time.monotonic()
            _, body = system.verify("--sweep", "--from", "dev", "--to", "prod")
            row.seconds.append(time.monotonic() - began)
            summary = body["summary"]
            row.wrong.append(sum(number for result, number in summary.items() if result != "pass"))
            row.note = f"{summary['pass']:,} cells proven closed"
        table("One boundary, every port, both protocols, both families, verdicts in the store", [row])


PARTS: dict[str, Callable[[], None]] = {
    "open": open_host,
    "drop": dropped,
    "udp": udp,
    "whole": whole,
    "compare": compared,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()
