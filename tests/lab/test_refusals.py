"""Who refuses or resets, and by what: a firewall's rule is proof, a dead host, a missing container or another host is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.estate import Estate
from tests.lab.small import PROD, PROD2, REG, STAGE_B, Outcome, running, verify

pytestmark = pytest.mark.lab

DEV_NET = "10.10.0.0/24"
TO_PROD = f"ip saddr {DEV_NET} ip daddr {PROD}"
RULES = [
    # A dead host behind a router that says so of every packet, but for the port that the router refuses by a rule.
    f"ip saddr {DEV_NET} ip daddr {REG} tcp dport 443 reject with icmpx type admin-prohibited",
    f"ip saddr {DEV_NET} ip daddr {REG} accept",
    # A live host, two forms of a rule.
    f"ip saddr {DEV_NET} ip daddr {STAGE_B} udp dport 53 reject with icmpx type admin-prohibited",
    f"ip saddr {DEV_NET} ip daddr {STAGE_B} udp dport 123 reject",
    # A witnessed host of which the distance is known.
    f"{TO_PROD} icmp type echo-request accept",
    f"{TO_PROD} tcp dport {{ 22, 23, 8000 }} accept",
    f"{TO_PROD} udp dport 9000 accept",
    f"ip saddr {DEV_NET} ip daddr {PROD2} tcp dport 25 accept",
]
ELSEWHERE = f"""table ip elsewhere {{ chain pre {{ type nat hook prerouting priority -100;
  {TO_PROD} tcp dport 25 dnat to {PROD2}
  {TO_PROD} tcp dport 53 redirect to :7
  {TO_PROD} tcp dport 80 redirect to :8
  }}
  chain in {{ type filter hook input priority 0; tcp dport 8 reject with icmp type admin-prohibited
}}
}}"""
REJECTS_ONCE = """table inet own { chain in { type filter hook input priority 0;
  ip saddr 10.30.0.0/24 accept
  tcp dport { 22, 8000 } jump once
  udp dport 9000 jump never
  }
  chain once { limit rate 1/hour burst 1 packets reject with icmpx type admin-prohibited
  drop
  }
  chain never { limit rate 1/hour burst 1 packets reject with icmpx type admin-prohibited
  drop
  }
}"""
CONTAINER = "172.31.0.2"
HANDS_ON = f"""table ip hands_on {{ chain pre {{ type nat hook prerouting priority -100; tcp dport 23 dnat to {CONTAINER}
}}
}}"""


def _build(estate: Estate) -> None:
    for host in "router", "prod-1":
        for limit in "icmp_ratelimit=0", "icmp_msgs_per_sec=100000", "icmp_msgs_burst=100000":
            estate.run(host, ["sysctl", "-qw", f"net.ipv4.{limit}"])  # the last two are the machine's in older kernels
    estate.run("reg", ["ip", "link", "set", "eth0", "down"]).check()
    estate.nft("router", ELSEWHERE)
    estate.nft("prod-1", REJECTS_ONCE)
    estate.nft("prod-1", HANDS_ON)
    estate.run("prod-1", ["sysctl", "-qw", "net.ipv4.ip_forward=1"]).check()
    estate.run("prod-1", ["ip", "route", "add", "unreachable", CONTAINER]).check()


@pytest.fixture(scope="module")
def outcome() -> Iterator[Outcome]:
    with running(RULES) as system:
        _build(system.estate)
        yield verify(system)


def test_a_dead_host_is_not_green_whatever_its_router_says(outcome: Outcome) -> None:
    cells = {c: e for c, e in outcome.cells.items() if c[0] == "dev-1" and c[2] == REG}
    assert {e["result"] for e in cells.values()} == {"inconclusive"}
    reasons = {e["reason"] for c, e in cells.items() if c[3] == "tcp"}
    assert reasons <= {"silent-inside", "no-inside-control"}, reasons


@pytest.mark.parametrize(("port", "reason"), [(53, "admin-prohibited"), (123, "port-unreach")])
def test_a_rule_before_a_live_host_is_row_17(outcome: Outcome, port: int, reason: str) -> None:
    assert outcome.says("dev-1", STAGE_B, "udp", port) == ("pass", "no-session", "refused", 17, reason)


def test_what_another_host_or_the_router_closes_in_the_hosts_name(outcome: Outcome) -> None:
    assert outcome.says("dev-1", PROD, "icmp", 0)[3] == 1, "its distance is known"
    assert outcome.says("dev-1", PROD, "tcp", 25)[1:] == ("unknown", "none", 4, "answered-elsewhere")
    assert outcome.says("dev-1", PROD, "tcp", 53) == ("pass", "blocked", "witnessed", 6, "reset")


def test_a_rule_in_the_hosts_name_of_which_the_host_knows_nothing(outcome: Outcome) -> None:
    assert outcome.says("dev-1", PROD, "tcp", 80) == ("pass", "blocked", "witnessed", 15, "admin-prohibited")
    evidence = outcome.system.ask("explain", "--from", "dev-1", "--to", PROD, "--port", "tcp/80")["evidence"]  # type: ignore[union-attr]
    assert (evidence["endpoint_refused"], evidence["prohibited_at_host"]) == (True, evidence["sent"])


def test_a_host_that_refuses_once_and_drops_the_rest(outcome: Outcome) -> None:
    assert outcome.says("dev-1", PROD, "tcp", 8000)[:4] == ("pass", "blocked-at-host", "witnessed", 13)
    assert outcome.says("dev-1", PROD, "tcp", 22)[:4] == ("pass", "blocked-at-host", "witnessed", 11)
    # The copies that were met by silence were delivered to no socket either: its counters stood still.
    assert outcome.says("dev-1", PROD, "udp", 9000)[:4] == ("pass", "blocked-at-host", "witnessed", 13)


def test_a_host_that_hands_on_to_one_that_is_down(outcome: Outcome) -> None:
    assert outcome.says("dev-1", PROD, "tcp", 23)[1:] == ("unknown", "none", 18, "refused-by-endpoint")
