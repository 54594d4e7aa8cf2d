"""65,535 UDP ports with a witness; nmap extrapolated from 200 of them."""

from __future__ import annotations

import statistics
import time

from lab.estate import Estate
from reachability.vocabulary import Protocol
from tests.bench.counters import Counter
from tests.bench.engine import Child, sweep
from tests.bench.hosts import RUNS, TARGET, UNLIMITED, control, plan
from tests.bench.report import Row, table

TRICKLE = 200  # packets before and after the burst that are not of it: controls, the witness's own proof


def udp() -> None:
    """One copy; from the first packet that the sender's interface counts to the last that the target's does."""
    with Estate(plan("accept")) as estate:
        control(estate)
        source, witness = Child(estate, "dev-1", UNLIMITED), Child(estate, "prod-1", UNLIMITED)
        ours = Row("segwatch, one copy, with a witness", [], [])
        burst = Row("of it: from the first packet to the last arrival", [], [])
        for _ in range(RUNS):
            left, came = Counter(estate, "dev-1", "tx_packets"), Counter(estate, "prod-1", "rx_packets")
            swept = sweep(source, [TARGET], Protocol.UDP, copies=1, most=1, witness=witness)
            burst.seconds.append(came.stop().span(TRICKLE)[1] - left.stop().span(TRICKLE)[0])
            ours.seconds.append(swept.seconds)
            missed = 65535 - len(swept.arrived())
            ours.wrong.append(missed)
            burst.wrong.append(missed)
        ours.note = "0.6 s of it waits for answers"
        burst.note = f"by the interfaces' counters; {65535 / statistics.median(burst.seconds):,.0f} packets/s"
        began = time.monotonic()
        estate.run("dev-1", ["nmap", "-n", "-Pn", "-sU", "-T4", "-p1-200", TARGET], timeout_s=600).check()
        took = (time.monotonic() - began) * 65535 / 200
        peer = Row("nmap -sU -T4, extrapolated from 200 ports", [took], [0])
        table("65,535 UDP, all let through", [ours, burst, peer])
