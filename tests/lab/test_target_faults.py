"""Faults of the target and its host on a real estate: no green without proof, and the touched cells say why."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.system import System
from tests.lab.small import (
    PROD,
    REG,
    SERVICES,
    TO_APP,
    TO_REGISTRY,
    assert_honest,
    at,
    changed,
    running,
    topology,
    verify,
)

pytestmark = pytest.mark.lab


def test_nothing_listens_at_the_target() -> None:
    text = topology(services="      metrics: {hosts: [10.30.0.21], ports: [udp/8125]}")
    services = {**SERVICES, "reg": ()}
    echo = f"ip saddr 10.10.0.0/24 ip daddr {REG} icmp type echo-request accept"  # shows how far away the host is
    with running([TO_REGISTRY, echo], text=text, services=services) as system:
        outcome = verify(system)
        silent = {c for agent in ("dev-1", "stage-1") for c in at(agent, REG, "udp", 8125)}
        opened = at("dev-1", REG, "tcp", 5000) | at("dev-1", REG, "icmp")
        assert_honest(outcome, silent.__contains__, opened=opened.__contains__, extra_udp=[8125])
        for agent in ("dev-1", "stage-1"):
            result, reachability, _, row, reason = outcome.says(agent, REG, "udp", 8125)
            assert (result, reachability, row) == ("inconclusive", "unknown", 18)
            assert reason in {"closed-inside", "silent-inside"}
        # A RST crossed the boundary: it is open to whatever listens there tomorrow.
        assert outcome.says("dev-1", REG, "tcp", 5000)[:4] == ("fail", "reachable", "inferred", 8)
        assert outcome.code == 1


def test_its_name_does_not_resolve() -> None:
    text = topology(services="      db: {hosts: [db.prod.internal], ports: [tcp/5432]}")
    with running(text=text) as system:
        outcome = verify(system)
        assert_honest(outcome, lambda _: False)
        named = [entry for cell, entry in outcome.cells.items() if cell[2] == "db.prod.internal"]
        assert named
        assert {(e["result"], e["reason"]) for e in named if e["required"]} == {("inconclusive", "resolve-failed")}
        assert outcome.code == 3


def test_a_name_that_resolves_is_probed_where_it_leads() -> None:
    text = topology(services="      db: {hosts: [db.prod.internal], ports: [tcp/5000]}")
    with running([TO_REGISTRY], text=text, names={"db.prod.internal": REG}) as system:
        outcome = verify(system)
        assert_honest(outcome, lambda _: False, opened=at("dev-1", REG, "tcp", 5000).__contains__)
        assert outcome.says("dev-1", REG, "tcp", 5000)[0] == "fail"


def test_the_service_resets_tls() -> None:
    rule = f"ip saddr 10.10.0.0/24 ip daddr {REG} tcp dport 8443 accept"
    services = {**SERVICES, "reg": (("tcp", 5000), ("reset", 8443))}
    with running([rule], services=services) as system:
        outcome = verify(system)
        assert_honest(outcome, lambda _: False, opened=at("dev-1", REG, "tcp", 8443).__contains__)
        entry = outcome.cell("dev-1", REG, "tcp", 8443)
        assert (entry["result"], entry["state"], entry["reachability"]) == ("fail", "open", "reachable")


def test_udp_is_let_through_to_a_service_that_never_answers() -> None:
    text = topology(services="      metrics: {hosts: [10.30.0.10, 10.30.0.21], ports: [udp/8125]}")
    rules = [f"ip saddr 10.10.0.0/24 ip daddr {address} udp dport 8125 accept" for address in (PROD, REG)]
    services = {**SERVICES, "prod-1": (*SERVICES["prod-1"], ("sink", 8125)), "reg": (("tcp", 5000), ("sink", 8125))}
    with running(rules, text=text, services=services) as system:
        outcome = verify(system)
        opened = at("dev-1", PROD, "udp", 8125) | at("dev-1", REG, "udp", 8125)
        # Without a witness nobody can tell silence from a firewall, whichever way the firewall is.
        touched = {c for agent in ("dev-1", "stage-1") for c in at(agent, REG, "udp", 8125)}
        assert_honest(outcome, touched.__contains__, opened=opened.__contains__, extra_udp=[8125])
        assert outcome.says("dev-1", PROD, "udp", 8125)[:4] == ("fail", "one-way", "witnessed", 14)
        assert outcome.says("dev-1", REG, "udp", 8125)[0] == "inconclusive"


HOST_FIREWALL = """table inet own { chain in { type filter hook input priority 0;
  ip saddr 10.30.0.0/24 accept
  %s
}
}"""


@pytest.fixture(scope="module")
def let_through() -> Iterator[System]:
    """The firewall lets two ports of prod-1 through: what its own does is each test's."""
    with running([TO_APP, f"ip saddr 10.10.0.0/24 ip daddr {PROD} tcp dport 22 accept"]) as system:
        yield system


@pytest.mark.parametrize(
    ("does", "row", "result"),
    [
        ("drop", 13, ("pass", "blocked-at-host", "witnessed")),
        ("reject with icmpx type admin-prohibited", 9, ("pass", "blocked-at-host", "witnessed")),
        ("reject with tcp reset", 5, ("fail", "reachable", "replied")),
    ],
    ids=["drop", "icmp", "reset"],
)
def test_the_targets_host_firewall_stops_it(
    let_through: System, does: str, row: int, result: tuple[str, str, str]
) -> None:
    stops = HOST_FIREWALL % f"ip saddr 10.10.0.0/24 tcp dport {{ 22, 8000 }} {does}"
    with changed(let_through, "prod-1", stops):
        outcome = verify(let_through)
        cells = at("dev-1", PROD, "tcp", 22, 8000)
        passes = result[0] == "pass"
        assert_honest(outcome, lambda _: False, opened=(lambda _: False) if passes else cells.__contains__)
        # A host sends a peer few ICMP errors: where it was silent to some of the copies, its silence is what counts.
        for port, silent in (8000, 13), (22, 11):
            said = outcome.says("dev-1", PROD, "tcp", port)
            assert said[:3] == result
            assert said[3] in ({9, silent} if row == 9 else {silent if row == 13 else row}), said


def test_the_targets_host_firewall_drops_udp() -> None:
    rules = [f"ip saddr 10.10.0.0/24 ip daddr {PROD} udp dport {{ 53, 123, 9000 }} accept"]
    with running(rules) as system:
        system.estate.nft("prod-1", HOST_FIREWALL % "ip saddr 10.10.0.0/24 udp dport { 53, 9000 } drop")
        outcome = verify(system)
        assert_honest(outcome, lambda _: False, opened=at("dev-1", PROD, "udp", 123).__contains__)
        assert outcome.says("dev-1", PROD, "udp", 53)[:4] == ("pass", "blocked-at-host", "witnessed", 12)
        assert outcome.says("dev-1", PROD, "udp", 9000)[:4] == ("pass", "blocked-at-host", "witnessed", 13)
        assert outcome.says("dev-1", PROD, "udp", 123)[0] == "fail"


def test_the_targets_host_firewall_refuses_udp() -> None:
    """A host sends a peer few ICMP errors: most copies are met by silence, some refusals go to the kernel's own try."""
    with running([f"ip saddr 10.10.0.0/24 ip daddr {PROD} meta l4proto udp accept"]) as system:
        refuses = "ip saddr 10.10.0.0/24 meta l4proto udp reject with icmpx type admin-prohibited"
        system.estate.nft("prod-1", HOST_FIREWALL % refuses)
        outcome = verify(system)
        assert_honest(outcome, lambda _: False)
        cells = [c for key, c in outcome.cells.items() if key[0] == "dev-1" and key[2:4] == (PROD, "udp")]
        assert {cell["reachability"] for cell in cells} == {"blocked-at-host"}
