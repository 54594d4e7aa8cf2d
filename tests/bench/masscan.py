"""masscan in the lab. It has an IP stack of its own, so it is told its address, a source port and the router's link address.

Its receiving thread ends only when a packet comes in; behind a firewall that drops none would, so the router sends a few.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass

from lab.estate import Estate
from tests.bench.counters import Counter, Samples

RATES = (10_000, 100_000, 300_000, 1_000_000)
OWN = "10.10.0.10"
MASSCAN = ("masscan", "-e", "eth0", "--adapter-ip", OWN, "--adapter-port", "61000", "-p1-65535")
TRICKLE = f"""import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(3000):
    s.sendto(b"x", ("{OWN}", 9))
    time.sleep(0.1)
"""
CONNECT = "import socket, sys; socket.socket().connect_ex((sys.argv[1], 9))"


@dataclass(frozen=True, slots=True)
class Scanned:
    """One run: seconds, the open ports it found, and what the interface sent."""

    seconds: float
    opened: frozenset[tuple[str, int]]
    sent: Samples


def masscan(estate: Estate, targets: tuple[str, ...], rate: int, wait_s: int = 1) -> Scanned:
    """Run it from dev-1; it waits so long for late answers."""
    link = _router(estate, targets[0])
    counter = Counter(estate, "dev-1", "tx_packets")
    began = time.monotonic()
    trickle = estate.spawn("router", [sys.executable, "-c", TRICKLE])
    command = [*MASSCAN, "--router-mac", link, "--rate", str(rate), "--wait", str(wait_s), "-oG", "-", *targets]
    try:
        done = estate.run("dev-1", command, timeout_s=280)
    finally:
        trickle.kill()
    seconds = time.monotonic() - began
    found = re.findall(r"Host: (\S+) .*?Ports: (\d+)/open", done.check().stdout)
    return Scanned(seconds, frozenset((host, int(port)) for host, port in found), counter.stop())


def _router(estate: Estate, target: str) -> str:
    """The link address of dev-1's gateway, once the kernel had to ask for it."""
    estate.run("dev-1", ["timeout", "3", sys.executable, "-c", CONNECT, target])
    neighbours = estate.run("dev-1", ["ip", "neigh"]).check().stdout
    [link] = [line.split()[4] for line in neighbours.splitlines() if line.startswith("10.10.0.1 ")]
    return link
