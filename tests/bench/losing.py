"""The same sweep of a live host over a path that loses packets at random, both ways."""

from __future__ import annotations

import sys
import time

from lab.estate import Estate
from reachability.vocabulary import Protocol, State
from tests.bench.engine import LISTENERS, Child, sweep
from tests.bench.hosts import OPEN, RUNS, TARGET, UNLIMITED, control, plan
from tests.bench.listeners import ports as listening
from tests.bench.report import Row, table

PER_CENT = (0, 1, 10)


def lossy() -> None:
    """A port that is neither open nor closed to the source, without a witness, counts as wrong as well."""
    want = {(TARGET, port) for port in listening(OPEN)}
    rows = []
    for per_cent in PER_CENT:
        rules = (f"numgen random mod 100 < {per_cent} drop",) if per_cent else ()
        with Estate(plan("accept")) as estate:
            if rules:
                estate.nft(
                    "router",
                    f"table inet loss {{ chain f {{ type filter hook forward priority -5; {rules[0]}\n}}\n}}\n",
                )
            control(estate)
            estate.spawn("prod-1", [sys.executable, str(LISTENERS), str(OPEN)])
            time.sleep(1)
            child = Child(estate, "dev-1", UNLIMITED)
            row = Row(f"segwatch, {per_cent}% lost", [], [])
            sweep(child, [TARGET], Protocol.TCP)
            for _ in range(RUNS):
                swept = sweep(child, [TARGET], Protocol.TCP)
                row.seconds.append(swept.seconds)
                answered = len(swept.ports(State.CLOSED)) + OPEN
                row.wrong.append(len(swept.ports(State.OPEN) ^ want) + abs(65535 - answered))
            rows.append(row)
    for row in rows[1:]:
        row.note = f"{row.median / rows[0].median:.1f} times as long"
    table(f"65,535 TCP, one live host with {OPEN:,} open ports, random loss both ways", rows)
