"""The lab that the benchmarks run in, and what is read from their peers."""

from __future__ import annotations

import re
import sys

from lab.estate import CORE_SEGMENT, Estate, Host, Plan, Segment

UNLIMITED = 1_000_000
RUNS, OPEN = 5, 1000
TARGET = "10.30.0.10"
NMAP = ("nmap", "-n", "-Pn", "-sS", "-p1-65535")


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
