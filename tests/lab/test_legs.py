"""A path of eight legs, each with a filter of its own, of which two let a port through: six flows miss them every fifth time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lab.estate import Estate
from reachability.legs import flows_needed
from tests.lab.small import DEV, PROD, SERVICES, running, verify

pytestmark = [pytest.mark.lab, pytest.mark.soak]

LEGS, LEAKY = 8, (2, 5)
LEFT_TO_THE_LEGS = f"ip saddr {DEV} ip daddr {PROD} accept"
OPEN = {**SERVICES, "prod-1": (*SERVICES["prod-1"], ("tcp", 22))}
FILTER = """table ip leg {{ chain f {{ type filter hook forward priority 0;
  ip saddr {dev} ip daddr {prod} tcp dport != {{ {let} }} drop
  ip saddr {dev} ip daddr {prod} ip protocol != tcp drop
}}
}}"""


def parted(estate: Estate) -> None:
    """Between the router and prod-1: by the flow's ports, as routers do. What prod-1 says goes straight to the router."""
    lines = ["ip netns exec prod-1 sysctl -q net.ipv4.conf.all.rp_filter=0"]
    lines += ["ip netns exec router sysctl -q net.ipv4.fib_multipath_hash_policy=1"]
    lines += ["ip netns exec router sysctl -q net.ipv4.conf.all.rp_filter=0"]
    for n in range(LEGS):
        lines += [
            f"ip netns add leg{n}",
            f"ip -n leg{n} link add near type veth peer name leg{n} netns router",
            f"ip -n leg{n} link add far type veth peer name leg{n} netns prod-1",
            f"ip -n router addr add 10.77.{n}.1/24 dev leg{n}",
            f"ip -n leg{n} addr add 10.77.{n}.2/24 dev near",
            f"ip -n leg{n} addr add 10.78.{n}.1/24 dev far",
            f"ip -n prod-1 addr add 10.78.{n}.2/24 dev leg{n}",
            *(f"ip -n {space} link set {link} up" for space, link in ((f"leg{n}", "near"), (f"leg{n}", "far"))),
            *(f"ip -n {space} link set leg{n} up" for space in ("router", "prod-1")),
            f"ip netns exec leg{n} sysctl -q net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0",
            f"ip -n leg{n} route add default via 10.77.{n}.1",
            f"ip -n leg{n} route add {PROD}/32 via 10.78.{n}.2",
        ]
    legs = " ".join(f"nexthop via 10.77.{n}.2" for n in range(LEGS))
    estate.run("", ["sh", "-e"], text="\n".join([*lines, f"ip -n router route add {PROD}/32 {legs}"]) + "\n").check()


def filtered(estate: Estate, leaky: Sequence[int] = ()) -> None:
    """Every leg lets one port through, and some another."""
    for n in range(LEGS):
        rules = FILTER.format(dev=DEV, prod=PROD, let="22, 8000" if n in leaky else "8000")
        estate.nft(f"leg{n}", f"add table ip leg\ndelete table ip leg\n{rules}").check()


def test_a_leak_of_some_legs_is_found_and_what_is_blocked_was_tried_over_each() -> None:
    with running([LEFT_TO_THE_LEGS], services=OPEN) as system:
        parted(system.estate)
        filtered(system.estate, LEAKY)
        outcome = verify(system, "--from", "dev", "--to", "prod")
        leak, shut = ("dev-1", DEV, PROD, "tcp", 22), ("dev-1", DEV, PROD, "tcp", 23)
        assert outcome.says("dev-1", PROD, "tcp", 22)[:2] == ("fail", "reachable"), outcome.evidence(leak)
        # What some legs drop of an open port is loss, as far as anybody can tell: beside it silence may stay undecided.
        assert outcome.cells[shut]["result"] != "fail"
        filtered(system.estate)
        outcome = verify(system, "--from", "dev", "--to", "prod")
        for cell in leak, shut:
            assert outcome.says("dev-1", PROD, *cell[3:])[:3] == ("pass", "blocked", "witnessed"), outcome.evidence(
                cell
            )
        shown = system.ask("explain", "--from", "dev-1", "--to", PROD, "--port", "tcp/23")
        assert shown["limits"]["flows"] >= flows_needed(LEGS, 0.0), outcome.evidence(shut)
