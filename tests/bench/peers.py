"""nmap over every port of the target, at each of the settings that were tried."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lab.estate import Estate
from tests.bench.hosts import RUNS, TARGET, opened
from tests.bench.report import Row

SETTINGS = (
    ("-T4",),
    ("-T5",),
    ("-T4", "--min-rate", "10000"),
    ("-T4", "--min-rate", "100000", "--max-retries", "2"),
    ("-T5", "--min-rate", "50000", "--max-retries", "3"),
    ("-T5", "--min-rate", "1000000", "--max-retries", "1"),
    ("-T5", "--min-rate", "1000000", "--max-retries", "0"),
)


def nmaps(estate: Estate, command: Sequence[str], name: str, want: set[tuple[str, int]]) -> list[Row]:
    """A row a setting; `want` are the ports that are open."""
    rows = []
    for setting in SETTINGS:
        row = Row(f"{name} {' '.join(setting)}", [], [])
        for _ in range(RUNS):
            began = time.monotonic()
            out = estate.run("dev-1", [*command, *setting, "-oG", "-", TARGET], timeout_s=300).check().stdout
            row.seconds.append(time.monotonic() - began)
            row.wrong.append(len(opened(out) ^ want))
        rows.append(row)
    return rows
