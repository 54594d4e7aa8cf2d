"""A coordinator that agents reach by an address that is not its own: a router translates it, as a published port does."""

from __future__ import annotations

from typing import Any

import pytest

from lab.estate import Estate
from lab.system import System
from tests.lab.services import serve
from tests.lab.small import AGENTS, SERVICES, plan, topology

pytestmark = pytest.mark.lab

PUBLIC = "10.99.0.1"
DNAT = f"""table ip published {{
    chain way {{
        type nat hook prerouting priority -100;
        ip daddr {PUBLIC} tcp dport 8883 dnat to 10.0.0.10
        ip daddr {PUBLIC} udp dport 8883 dnat to 10.0.0.10
    }}
}}
"""


def proven(*, advertise: bool, broker: str) -> tuple[int, dict[str, Any], str]:
    """A verify behind address translation: its exit code, its body, and the word that the coordinator left."""
    with Estate(plan()) as estate:
        estate.nft("router", DNAT)
        estate.run("router", ["ip", "address", "add", f"{PUBLIC}/32", "dev", "lo"]).check()
        for host, ports in SERVICES.items():
            serve(estate, host, ports)
        system = System(estate, topology(), {agent: agent for agent in AGENTS}, advertise=[PUBLIC] if advertise else [])
        system.make_keys()
        system.start_coordinator()
        system.wait_for(system.socket.exists, "the coordinator")
        for agent in AGENTS:
            option = ["--broker", broker] if broker else []
            made = system.cli(
                "pki", "agent", agent, "--dir", "pki", "-f", "topology.yaml", *option, "--out", f"{agent}.tar"
            ).check()
            system.start_agent(agent)
        system.wait_for(lambda: system.connected() >= set(AGENTS), "the agents")
        code, body = system.verify("--cells")
        return code, body, made.stderr


@pytest.mark.parametrize(
    ("advertise", "broker", "unproven"),
    [
        # Nobody told the coordinator: the agents know where they are connected. Its own address is there beside it, and answers ICMP.
        (False, f"mqtts://{PUBLIC}:8883", set()),
        # It was told, and has left word of it for the bundles.
        (True, "", {("icmp", False, "no-source-control")}),
    ],
)
def test_what_is_closed_is_proven_but_by_nobody_who_answers_in_its_place(
    advertise: bool, broker: str, unproven: set[tuple[str, bool, str]]
) -> None:
    """The router answers an ICMP echo to that address itself: this shows of no packet that it gets any further."""
    code, body, _ = proven(advertise=advertise, broker=broker)
    assert code == (3 if unproven else 0), body["summary"]
    left = [cell for cell in body["cells"] if cell["required"] and cell["result"] != "pass"]
    assert {(cell["protocol"], ":" in cell["address"], cell["reason"]) for cell in left} == unproven
