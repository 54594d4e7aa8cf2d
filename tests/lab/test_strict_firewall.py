"""The strictest usual firewall: agents reach the broker's TCP port and what is declared, nothing else."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.lab.small import PROD, PROD6, STAGE, STAGE6, WITNESSED, running, topology, verify
from tests.lab.truth import GREEN

pytestmark = pytest.mark.lab

STRICT = """table inet strict {
chain forward { type filter hook forward priority -10; policy accept;
  ip saddr 10.0.0.0/24 accept
  ct state established accept
  ip daddr 10.0.0.0/24 tcp dport 8883 accept
  ip daddr 10.0.0.0/24 drop
  ip6 daddr fd00::/64 drop
}
}
"""
PATHS = """paths:
  - {name: app, from: dev, to: prod.app, expect: allowed, owner: me, justification: needed}
  - {name: web, from: prod, to: stage.web, expect: allowed, owner: me, justification: needed}
"""
RULES = [
    f"{ip} saddr {source} {ip} daddr {to} {ports} accept"
    for ends, ports in (
        ((("ip", "10.10.0.0/24", PROD), ("ip6", "fd00:10::/64", PROD6)), "tcp dport 8000"),
        ((("ip", "10.10.0.0/24", PROD), ("ip6", "fd00:10::/64", PROD6)), "udp dport 9000"),
        ((("ip", "10.30.0.0/24", STAGE), ("ip6", "fd00:30::/64", STAGE6)), "tcp dport 8080"),
        ((("ip", "10.30.0.0/24", STAGE), ("ip6", "fd00:30::/64", STAGE6)), "udp dport 9100"),
    )
    for ip, source, to in ends
]


def test_what_is_declared_elsewhere_controls_what_the_coordinator_cannot() -> None:
    """Prod's datagrams to stage are answered by nobody: a witness there sees them."""
    text = topology(paths=PATHS).replace("ports: [tcp/8080]", "ports: [tcp/8080, udp/9100]")
    with running(RULES, text=text) as system:
        system.estate.nft("router", STRICT)
        outcome = verify(system)
        said: Counter[tuple[str, str, str, str]] = Counter()
        for (agent, _, address, protocol, _), entry in outcome.cells.items():
            if agent == "stage-1" or address not in WITNESSED or protocol == "icmp":
                continue  # nothing is declared for stage, and nothing for echoes
            if entry["declared"] == "denied":
                green = entry["result"] == "pass" and entry["reachability"] in GREEN
                said[agent, address, protocol, "green" if green else entry["reason"]] += 1
        unproven = {cell: count for cell, count in said.items() if cell[3] != "green"}
        assert not unproven, unproven
        assert len({cell[:3] for cell in said}) == 2 * (6 + 4 + 4), said
        icmp = [entry for (_, _, _, protocol, _), entry in outcome.cells.items() if protocol == "icmp"]
        assert {entry["reason"] for entry in icmp} == {"no-source-control"}
