"""`make bench`: segwatch beside nmap over the same cells in the same run. Prints the lines that docs/benchmarks.md keeps.

Only the ratio is worth keeping: the figures move from machine to machine. The two do not do the same work: segwatch sends
four copies of each packet, controls and canaries, and gets proof; nmap sends one or two, and gets port states.
"""

from __future__ import annotations

import statistics
import time

from lab.estate import CORE_SEGMENT, Estate, Host, Plan, Segment
from lab.system import System

RATE_PPS = 3000
RUNS = 3
PORTS = 1000
TOPOLOGY = f"""version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
    agents:
      dev-1: {{addresses: [10.10.0.10]}}
  prod:
    networks: [10.30.0.0/24]
    agents:
      prod-1: {{addresses: [10.30.0.10]}}
      prod-2: {{addresses: [10.30.0.11]}}
probing: {{every: 1h, rate_pps: {RATE_PPS}, confirm: 1, sweep: {{every: 24h, ports: [tcp/1-{PORTS}]}}}}
"""
PLAN = Plan(
    (
        CORE_SEGMENT,
        Segment("dev", ("10.10.0.0/24",), (Host("dev-1", ("10.10.0.10/24",)),)),
        Segment("prod", ("10.30.0.0/24",), (Host("prod-1", ("10.30.0.10/24",)), Host("prod-2", ("10.30.0.11/24",)))),
    )
)
NMAP = ["nmap", "-n", "-Pn", "-sS", f"-p1-{PORTS}", "--max-retries", "3", "--min-rate", str(RATE_PPS),
        "--max-rate", str(RATE_PPS), "10.30.0.10", "10.30.0.11"]  # fmt: skip


def main() -> None:
    """Measure, and print a table."""
    with Estate(PLAN) as estate:
        system = System(estate, TOPOLOGY, {"dev-1": "dev-1", "prod-1": "prod-1", "prod-2": "prod-2"})
        system.deploy()
        system.verify()  # the packet children's start is not what is measured
        ours, theirs, proven = [], [], 0
        for _ in range(RUNS):
            began = time.monotonic()
            _, body = system.verify("--sweep", "--from", "dev", "--to", "prod")
            ours.append(time.monotonic() - began)
            proven = body["summary"]["pass"]
            began = time.monotonic()
            estate.run("dev-1", NMAP, timeout_s=300).check()
            theirs.append(time.monotonic() - began)
    mine, other = statistics.median(ours), statistics.median(theirs)
    print(f"Two hosts behind a firewall that drops, TCP 1-{PORTS}, {RATE_PPS} packets/s, median of {RUNS}:")
    print()
    print("| | seconds | said |")
    print("|---|---|---|")
    print(f"| segwatch verify --sweep | {mine:.1f} | {proven:,} cells proven closed (no packet arrived) |")
    print(f"| nmap -sS --max-retries 3 | {other:.1f} | {2 * PORTS:,} ports filtered (silence) |")
    print()
    print(f"ratio {mine / other:.2f}")


if __name__ == "__main__":
    main()
