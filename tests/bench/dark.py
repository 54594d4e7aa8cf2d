"""65,535 TCP ports of 16 hosts behind a firewall that drops: the rate of the first copy, and the time of all that are asked for."""

from __future__ import annotations

import statistics
import time

from lab.estate import Estate
from reachability.vocabulary import Protocol, State
from tests.bench.counters import Counter
from tests.bench.engine import Child, Swept, sweep
from tests.bench.hosts import NMAP, RUNS, UNLIMITED, control, opened, plan
from tests.bench.masscan import RATES, masscan
from tests.bench.report import Row, table

MANY = 16
DARK = tuple(f"10.30.0.{20 + n}" for n in range(MANY))


def _answered(swept: Swept) -> int:
    return len(swept.ports(State.OPEN)) + len(swept.ports(State.CLOSED))


def dropped() -> None:
    """Rates are the sending interface's own, first and last tenth of the packets apart."""
    cells = MANY * 65535
    with Estate(plan()) as estate:
        control(estate)
        child = Child(estate, "dev-1", UNLIMITED)
        one, proof = Row("segwatch, one copy", [], []), Row("segwatch, the copies that its rules ask for", [], [])
        rates = []
        for _ in range(RUNS):
            counter = Counter(estate, "dev-1", "tx_packets")
            swept = sweep(child, DARK, Protocol.TCP, copies=1, most=1)
            rates.append(counter.stop().pps)
            one.seconds.append(swept.seconds)
            one.wrong.append(_answered(swept))
        one.note = f"{statistics.median(rates):,.0f} packets/s"
        swept = sweep(child, DARK, Protocol.TCP, copies=3)
        proof.seconds.append(swept.seconds)
        proof.wrong.append(_answered(swept))
        proof.note = f"{swept.source.packets / cells:.1f} copies per cell; {child.peak_mib():.0f} MiB at most; one run"
        rows = [one, proof]
        for rate in RATES[1:]:
            row = Row(f"masscan --rate {rate}, one copy", [], [])
            rates = []
            for _ in range(RUNS if rate == RATES[-1] else 1):
                scanned = masscan(estate, DARK, rate)
                row.seconds.append(scanned.seconds)
                row.wrong.append(len(scanned.opened))
                rates.append(scanned.sent.pps)
            row.note = f"{statistics.median(rates):,.0f} packets/s; {len(rates)} run{'s' if len(rates) > 1 else ''}"
            rows.append(row)
        nmap = Row("nmap -T5, two probes a port", [], [])
        began = time.monotonic()
        most = ["-T5", "--min-rate", "1000000", "--max-retries", "1"]
        out = estate.run("dev-1", [*NMAP, *most, "-oG", "-", *DARK], timeout_s=600).check()
        nmap.seconds.append(time.monotonic() - began)
        nmap.wrong.append(len(opened(out.stdout)))
        nmap.note = "one run"
        table(f"65,535 TCP, {MANY} hosts behind drop", [*rows, nmap])
