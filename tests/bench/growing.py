"""How time and memory grow: with hosts behind a firewall that drops, and with the ports of a live one."""

from __future__ import annotations

import sys
import time

from lab.estate import Estate
from reachability.vocabulary import Protocol, State
from tests.bench.engine import LISTENERS, Child, sweep
from tests.bench.hosts import OPEN, TARGET, UNLIMITED, control, plan
from tests.bench.report import Row, table

HOSTS, PORTS = (1, 4, 16, 64), (1000, 4000, 16_000, 65_535)
TIMES = 3


def growth() -> None:
    """A new child for each size, so that its highest RSS is that size's."""
    rows = []
    with Estate(plan()) as estate:
        control(estate)
        for hosts in HOSTS:
            child = Child(estate, "dev-1", UNLIMITED)
            row = Row(f"{hosts} host{'s' if hosts > 1 else ''} behind drop, one copy", [], [])
            for _ in range(TIMES):
                swept = sweep(child, [f"10.30.0.{20 + n}" for n in range(hosts)], Protocol.TCP, copies=1, most=1)
                row.seconds.append(swept.seconds)
                row.wrong.append(len(swept.ports(State.OPEN)) + len(swept.ports(State.CLOSED)))
            row.note = f"{hosts * 65535 / row.median:,.0f} cells/s, {child.peak_mib():.0f} MiB at most"
            child.close()
            rows.append(row)
    with Estate(plan("accept")) as estate:
        control(estate)
        estate.spawn("prod-1", [sys.executable, str(LISTENERS), str(OPEN)])
        time.sleep(1)
        for ports in PORTS:
            child = Child(estate, "dev-1", UNLIMITED)
            row = Row(f"{ports:,} ports of a live host", [], [])
            for _ in range(TIMES):
                swept = sweep(child, [TARGET], Protocol.TCP, ports=f"1-{ports}")
                row.seconds.append(swept.seconds)
                row.wrong.append(ports - len(swept.ports(State.OPEN)) - len(swept.ports(State.CLOSED)))
            row.note = f"{ports / row.median:,.0f} cells/s, {child.peak_mib():.0f} MiB at most"
            child.close()
            rows.append(row)
    table("Growth", rows)
