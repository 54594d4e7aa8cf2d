"""Rows of the verdict's table on the wire, those that no fault shows: reachability, proof and row of a cell each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.small import PROD, REG, SERVICES, STAGE, Outcome, running, topology, verify

pytestmark = pytest.mark.lab

RULES = [
    f"ip saddr 10.10.0.0/24 ip daddr {PROD} tcp dport {{ 22, 8000 }} accept",
    f"ip saddr 10.10.0.0/24 ip daddr {PROD} udp dport 8125 accept",
    f"ip saddr 10.10.0.0/24 ip daddr {PROD} tcp dport 80 reject with tcp reset",
    f"ip saddr 10.10.0.0/24 ip daddr {PROD} tcp dport 443 reject with icmpx type admin-prohibited",
    f"ip saddr 10.10.0.0/24 ip daddr {REG} tcp dport {{ 25, 5000 }} accept",
    f"ip saddr 10.10.0.0/24 ip daddr {REG} icmp type echo-request accept",
    f"ip saddr 10.10.0.0/24 ip daddr {REG} tcp dport 80 reject with tcp reset",
    # From elsewhere: a router refuses a peer six times and then once a second.
    f"ip saddr 10.20.0.0/24 ip daddr {REG} udp dport 53 reject with icmpx type admin-prohibited",
    f"ip saddr 10.10.0.0/24 ip daddr {STAGE} icmp type echo-request accept",
]
SINK = "      metrics: {hosts: [10.30.0.10], ports: [udp/8125]}"


@pytest.fixture(scope="module")
def outcome() -> Iterator[Outcome]:
    services = {**SERVICES, "prod-1": (*SERVICES["prod-1"], ("sink", 8125))}
    with running(RULES, text=topology(services=SINK), services=services) as system:
        yield verify(system)


ROWS = [
    (1, PROD, "tcp", 8000, ("fail", "reachable", "replied", 1, "syn-ack")),
    (1, STAGE, "icmp", 0, ("fail", "reachable", "replied", 1, "echo-reply")),
    (2, REG, "tcp", 5000, ("fail", "reachable", "replied", 2, "syn-ack")),
    (2, REG, "icmp", 0, ("fail", "reachable", "replied", 2, "echo-reply")),
    (5, PROD, "tcp", 22, ("fail", "reachable", "replied", 5, "reset")),
    (6, PROD, "tcp", 80, ("pass", "blocked", "witnessed", 6, "reset")),
    (7, REG, "tcp", 80, ("pass", "no-session", "controlled", 7, "reset")),
    (8, REG, "tcp", 25, ("fail", "reachable", "inferred", 8, "reset")),
    (14, PROD, "udp", 8125, ("fail", "one-way", "witnessed", 14, "no-answer")),
    (15, PROD, "tcp", 23, ("pass", "blocked", "witnessed", 15, "no-response")),
    (15, PROD, "tcp", 443, ("pass", "blocked", "witnessed", 15, "admin-prohibited")),
    (15, PROD, "icmp", 0, ("pass", "blocked", "witnessed", 15, "no-response")),
    (15, PROD, "udp", 53, ("pass", "blocked", "witnessed", 15, "no-response")),
    (16, REG, "tcp", 23, ("pass", "no-session", "controlled", 16, "no-response")),
]


@pytest.mark.parametrize(
    ("row", "address", "protocol", "port", "said"), ROWS, ids=[f"row-{r[0]}-{r[2]}-{r[3]}" for r in ROWS]
)
def test_a_row_on_the_wire(
    outcome: Outcome, row: int, address: str, protocol: str, port: int, said: tuple[str, str, str, int, str]
) -> None:
    del row
    assert outcome.says("dev-1", address, protocol, port) == said


def test_what_is_refused_every_time_is_row_17(outcome: Outcome) -> None:
    said = outcome.says("stage-1", REG, "udp", 53)
    assert said == ("pass", "no-session", "refused", 17, "admin-prohibited")


def test_a_silent_udp_port_without_a_witness_is_row_18(outcome: Outcome) -> None:
    entry = outcome.cell("stage-1", REG, "udp", 123)
    assert (entry["reachability"], entry["row"], entry["required"]) == ("unknown", 18, False)
