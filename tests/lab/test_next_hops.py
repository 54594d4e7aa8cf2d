"""A source whose route has two next hops, and a hole behind one of them."""

from __future__ import annotations

import pytest

from lab.estate import Estate
from lab.system import System
from tests.lab.services import serve
from tests.lab.small import AGENTS, DEV, PROD, SERVICES, deploy, plan, topology, verify
from tests.lab.story import told

pytestmark = [pytest.mark.lab]

# A second gateway on the same wire: the router again, by an interface and a link address of its own.
SECOND = """
ip link add gw2 link lan0 type macvlan mode bridge
sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.gw2.rp_filter=0 net.ipv4.conf.lan0.rp_filter=0
ip addr add 10.10.0.2/32 dev gw2
ip link set gw2 up
"""
HOLE = f'iifname "gw2" ip saddr {DEV} ip daddr {PROD} tcp dport 23 accept'


def test_a_hole_behind_one_of_two_next_hops_is_found() -> None:
    """The kernel takes one of them for all that goes from the one address to the other; another host's flows take the other."""
    with Estate(plan([HOLE])) as estate:
        for host, ports in {**SERVICES, "prod-1": (*SERVICES["prod-1"], ("tcp", 23))}.items():
            serve(estate, host, ports)
        number = [segment.name for segment in estate.plan.segments].index("dev")
        estate.run("router", ["sh", "-e"], text=SECOND.replace("lan0", f"lan{number}")).check()
        hops = ["nexthop", "via", "10.10.0.1", "nexthop", "via", "10.10.0.2"]
        estate.run("dev-1", ["ip", "route", "replace", "default", *hops]).check()
        system = System(estate, topology(), {agent: agent for agent in AGENTS})
        deploy(system)
        with told(system):
            system.wait_for(lambda: system.connected() >= set(AGENTS), "the agents")
            outcome = verify(system, "--from", "dev")
            assert outcome.says("dev-1", PROD, "tcp", 23)[:2] == ("fail", "reachable")
            assert outcome.says("dev-1", PROD, "tcp", 25)[:3] == ("pass", "blocked", "witnessed")
