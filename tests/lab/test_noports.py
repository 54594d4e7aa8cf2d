"""What a host's stack did with packets that arrived and were not answered, on the wire: rows 11 to 13, and what is not theirs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.estate import Estate
from tests.lab.services import serve
from tests.lab.small import PROD, PROD2, SERVICES, STAGE, Outcome, running, topology, verify

pytestmark = pytest.mark.lab

RULES = [
    f"ip saddr 10.10.0.0/24 ip daddr {PROD} udp dport {{ 514, 8125, 9001, 9002, 9003 }} accept",
    f"ip saddr 10.10.0.0/24 ip daddr {PROD} tcp dport 8001 accept",
    f"ip saddr 10.10.0.0/24 ip daddr {PROD2} tcp dport {{ 8002, 8003 }} accept",
    f"ip saddr 10.10.0.0/24 ip daddr {STAGE} udp dport {{ 123, 161 }} accept",
]
DECLARED = """      logs: {hosts: [10.30.0.10], ports: [udp/514, udp/8125, udp/9001, udp/9002, udp/9003, tcp/8001]}
      box: {hosts: [10.30.0.11], ports: [tcp/8002, tcp/8003]}"""
# 514 leads to 1514; 8125 and 9002 are dropped, of which 9002 is served.
ON_PROD = """table ip host {
  chain nat { type nat hook prerouting priority -100; udp dport 514 redirect to :1514; }
  chain input { type filter hook input priority 0; ip saddr 10.10.0.0/24 udp dport { 8125, 9002 } drop; ip saddr 10.10.0.0/24 tcp dport 8001 drop; }
}"""
# 8002 leads to a container that drops all; 8003 is dropped.
ON_PROD2 = """table ip host {
  chain nat { type nat hook prerouting priority -100; tcp dport 8002 dnat to 172.20.0.2:80; }
  chain input { type filter hook input priority 0; ip saddr 10.10.0.0/24 tcp dport 8003 drop; }
}"""
ON_STAGE = """table ip host {
  chain input { type filter hook input priority 0; ip saddr 10.10.0.0/24 udp dport { 123, 161 } drop; }
}"""
CONTAINER = """set -e
ip netns add box
ip -n prod-2 link add box0 type veth peer name eth0 netns box
ip -n prod-2 addr add 172.20.0.1/24 dev box0
ip -n prod-2 link set box0 up
ip -n box addr add 172.20.0.2/24 dev eth0
ip -n box link set eth0 up
ip netns exec prod-2 sysctl -qw net.ipv4.ip_forward=1
"""


def prepare(estate: Estate) -> None:
    for host, rules in (("prod-1", ON_PROD), ("prod-2", ON_PROD2), ("stage-1", ON_STAGE)):
        estate.nft(host, rules)
    estate.run("", ["sh", "-e"], text=CONTAINER).check()
    estate.nft("box", "table ip box { chain input { type filter hook input priority 0; policy drop; }\n}")
    serve(estate, "stage-1", [("noise-udp", 8999)], against="127.0.0.1")


@pytest.fixture(scope="module")
def outcome() -> Iterator[Outcome]:
    kinds = (("own", 9001), ("udp", 9002), ("sink", 1514))
    services = {**SERVICES, "prod-1": (*SERVICES["prod-1"], *kinds)}
    with running(RULES, text=topology(services=DECLARED), services=services) as system:
        prepare(system.estate)
        yield verify(system)


@pytest.mark.parametrize(
    ("address", "protocol", "port", "said"),
    [
        (PROD, "udp", 8125, ("pass", "blocked-at-host", "witnessed", 12, "host-silent")),
        (PROD, "udp", 9002, ("pass", "blocked-at-host", "witnessed", 13, "host-silent")),
        (PROD, "tcp", 8001, ("pass", "blocked-at-host", "witnessed", 11, "host-silent")),
        (PROD2, "tcp", 8003, ("pass", "blocked-at-host", "witnessed", 11, "host-silent")),
        # The service got it, and ignores strangers.
        (PROD, "udp", 9001, ("fail", "one-way", "witnessed", 14, "no-answer")),
        # NAT on the host led it on: to another port, to a container.
        (PROD, "udp", 514, ("fail", "one-way", "witnessed", 14, "no-answer")),
        (PROD2, "tcp", 8002, ("fail", "one-way", "witnessed", 14, "no-answer")),
    ],
)
def test_what_the_stack_did_with_it(
    outcome: Outcome, address: str, protocol: str, port: int, said: tuple[str, str, str, int, str]
) -> None:
    assert outcome.says("dev-1", address, protocol, port) == said


def test_a_port_that_nobody_serves_and_nobody_guards_is_not_green(outcome: Outcome) -> None:
    assert outcome.cell("dev-1", PROD, "udp", 9003)["result"] == "fail"


def test_noise_on_lo_does_not_make_a_host_firewall_red(outcome: Outcome) -> None:
    """A client on the host sends a hundred datagrams a second to a dead port of its own."""
    for port in (123, 161):
        said = outcome.says("dev-1", STAGE, "udp", port)
        assert said[1] in {"blocked-at-host", "unknown"}, said
