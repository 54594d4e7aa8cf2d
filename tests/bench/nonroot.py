"""The sweep without CAP_NET_RAW beside `nmap -sT`: connections alone, from the same host to the same ports."""

from __future__ import annotations

import sys
import time

from lab.estate import Estate
from reachability.vocabulary import Protocol, State
from tests.bench.engine import LISTENERS, Child, sweep
from tests.bench.hosts import OPEN, RUNS, TARGET, UNLIMITED, control, plan
from tests.bench.listeners import ports as listening
from tests.bench.peers import nmaps
from tests.bench.report import Row, ratio, table

NMAP = ("nmap", "-n", "-Pn", "-sT", "--unprivileged", "-p1-65535")


def without_capability() -> None:
    """65,535 TCP, one live host with 1,000 open ports, by connect."""
    want = {(TARGET, port) for port in listening(OPEN)}
    with Estate(plan("accept")) as estate:
        control(estate)
        estate.spawn("prod-1", [sys.executable, str(LISTENERS), str(OPEN)])
        time.sleep(1)
        child = Child(estate, "dev-1", UNLIMITED, drop_caps=("net_raw",))
        ours = Row("segwatch without CAP_NET_RAW, the bare engine", [], [])
        for _ in range(2 * RUNS):
            swept = sweep(child, [TARGET], Protocol.TCP)
            assert not swept.source.raw
            ours.seconds.append(swept.seconds)
            answered = len(swept.ports(State.CLOSED)) + OPEN
            ours.wrong.append(len(swept.ports(State.OPEN) ^ want) + abs(65535 - answered))
        ours.note = f"{child.peak_mib():.0f} MiB at most"
        peers = nmaps(estate, NMAP, "nmap -sT", want)
        table(f"65,535 TCP, one live host with {OPEN:,} open ports, without raw sockets", [ours, *peers])
        ratio(ours, peers)
