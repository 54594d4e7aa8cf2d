"""Watches an interface's own counter on a host of the lab: `sampler.py rx_packets SECONDS` prints `time count` at each change."""

from __future__ import annotations

import sys
import time
from pathlib import Path

EVERY_S = 0.002


def main(name: str, seconds: float) -> None:
    """Until the time is over; times are CLOCK_MONOTONIC, the same on all hosts of a lab."""
    path = Path("/sys/class/net/eth0/statistics") / name
    before, until = int(path.read_text()), time.monotonic() + seconds
    print(time.monotonic(), before, flush=True)
    while time.monotonic() < until:
        count = int(path.read_text())
        if count != before:
            before = count
            print(time.monotonic(), count, flush=True)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
