"""`explain --trace` over one router and over two, against what their rules do to the packets."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lab.estate import CORE_SEGMENT, Estate, Host, Plan, Segment
from lab.system import System
from tests.lab.services import serve
from tests.lab.truth import BRISK

pytestmark = pytest.mark.lab

DEV, DEV6, STAGE = "10.10.0.10", "fd00:10::10", "10.20.0.10"
PROD, PROD6, REG = "10.50.0.10", "fd00:50::10", "10.50.0.21"
NEAR, NEAR6 = "10.10.0.1", "fd00:10::1"  # the first router, as dev sees it
EDGE, EDGE6 = "10.40.0.2", "fd00:40::2"  # the second one, in front of prod
ROUTER = [
    f"ip saddr {DEV} ip daddr {STAGE} tcp dport 22 accept",
    f"ip daddr {PROD} tcp dport 443 drop",
    f"ip daddr {PROD} tcp dport 22 reject with icmpx type admin-prohibited",
    f"ip daddr {PROD} tcp dport 3306 reject with tcp reset",
    f"ip daddr {{ {PROD}, {REG} }} tcp dport {{ 80, 25, 8000, 8080, 6379 }} accept",
    f"ip daddr {PROD} udp dport {{ 53, 123, 9000 }} accept",
    f"ip daddr {PROD} icmp type echo-request accept",
    f"ip6 daddr {PROD6} tcp dport {{ 80, 8000 }} accept",
    f"ip6 daddr {PROD6} icmpv6 type echo-request accept",
    "ip saddr 10.40.0.2 accept",
    "ip6 saddr fd00:40::2 accept",
    "ip saddr 10.50.0.0/24 ip daddr 10.0.0.0/24 accept",
]
EDGE_RULES = """table inet edge {
  chain forward {
    type filter hook forward priority 0; policy accept;
    ip daddr 10.50.0.0/24 tcp dport 80 drop
    ip6 daddr fd00:50::/64 tcp dport 80 drop
    ip daddr 10.50.0.0/24 tcp dport 25 reject with icmpx type host-unreachable
    ip daddr 10.50.0.0/24 udp dport 123 drop
    ip saddr 10.50.0.0/24 tcp sport 8080 drop
  }
}
"""
TOPOLOGY = """version: 1
environments:
  dev: {networks: [10.10.0.0/24, "fd00:10::/64"], agents: {dev-1: {addresses: [10.10.0.10, "fd00:10::10"]}}}
  stage: {networks: [10.20.0.0/24], agents: {stage-1: {addresses: [10.20.0.10]}}}
  prod:
    networks: [10.50.0.0/24, "fd00:50::/64"]
    agents: {prod-1: {addresses: [10.50.0.10, "fd00:50::10"]}}
    services:
      app: {hosts: [10.50.0.10, "fd00:50::10"], ports: [tcp/8000, tcp/8080, udp/9000]}
      registry: {hosts: [10.50.0.21], ports: [tcp/8000]}
probing: {BRISK, every: 365d, confirm: 1, rate_pps: 3000}
""".replace("BRISK", BRISK)


def estate() -> Estate:
    """dev and stage behind one router; prod behind a second one, `edge`, in a network of its own beyond the first."""
    segments = (
        CORE_SEGMENT,
        Segment("dev", ("10.10.0.0/24", "fd00:10::/64"), (Host("dev-1", (f"{DEV}/24", f"{DEV6}/64")),)),
        Segment("stage", ("10.20.0.0/24",), (Host("stage-1", (f"{STAGE}/24",)),)),
        Segment("transit", ("10.40.0.0/24", "fd00:40::/64"), (Host("edge", (f"{EDGE}/24", f"{EDGE6}/64")),)),
    )
    built = Estate(Plan(segments, tuple(ROUTER)))
    try:
        _beyond(built)
    except BaseException:
        built.close()
        raise
    return built


def _beyond(built: Estate) -> None:
    script = """
    for name in prod-1 reg prod-switch; do ip netns add $name; done
    ip netns exec edge sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0
    ip -n prod-switch link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0
    ip -n prod-switch link set br0 up
    for end in edge:prod prod-1:eth0 reg:eth0; do
      name=${end%:*}; device=${end#*:}
      ip -n prod-switch link add p-$name type veth peer name $device netns $name
      ip -n prod-switch link set p-$name master br0 up
      ip netns exec $name sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
      ip -n $name link set lo up
      ip -n $name link set $device up
    done
    ip -n edge addr add 10.50.0.1/24 dev prod
    ip -n edge addr add fd00:50::1/64 dev prod nodad
    ip -n prod-1 addr add 10.50.0.10/24 dev eth0
    ip -n prod-1 addr add fd00:50::10/64 dev eth0 nodad
    ip -n reg addr add 10.50.0.21/24 dev eth0
    ip -n prod-1 route add default via 10.50.0.1
    ip -n prod-1 -6 route add default via fd00:50::1
    ip -n reg route add default via 10.50.0.1
    ip -n router route add 10.50.0.0/24 via 10.40.0.2
    ip -n router -6 route add fd00:50::/64 via fd00:40::2
    """
    built.run("", ["sh", "-e"], text=script).check()
    built.nft("edge", EDGE_RULES)


@dataclass(frozen=True)
class Traces:
    system: System

    def __call__(self, to: str, port: str, source: str = "dev-1") -> dict[str, Any]:
        body = self.system.ask("explain", "--from", source, "--to", to, "--port", port, "--trace")
        found: dict[str, Any] = body["trace"]
        return found


@pytest.fixture(scope="module")
def trace() -> Iterator[Traces]:
    with estate() as built:
        serve(built, "prod-1", [("tcp", 8000), ("tcp", 8080), ("udp", 9000)])
        serve(built, "reg", [("tcp", 8000)])
        agents = ("dev-1", "stage-1", "prod-1")
        system = System(built, TOPOLOGY, {agent: agent for agent in agents})
        system.deploy()
        system.wait_for(lambda: system.connected() >= set(agents), "the agents")
        yield Traces(system)


def steps(found: dict[str, Any]) -> list[tuple[int, str | None, str]]:
    """(TTL, address, reason) up to the last hop that said something."""
    rows = [(hop["ttl"], hop["address"], hop["reason"]) for hop in found["hops"]]
    while rows and rows[-1][1] is None:
        rows.pop()
    return rows


FIRST, SECOND = (1, NEAR, "ttl-exceeded"), (2, EDGE, "ttl-exceeded")
FIRST6, SECOND6 = (1, NEAR6, "ttl-exceeded"), (2, EDGE6, "ttl-exceeded")
ALL, NONE = True, False
CASES = [
    # address, port, hops, whether it arrives, whom it stops after
    (PROD, "tcp/8000", [FIRST, SECOND, (3, PROD, "syn-ack")], ALL, None),
    (PROD, "tcp/6379", [FIRST, SECOND, (3, PROD, "reset")], ALL, None),
    (PROD, "tcp/443", [FIRST], NONE, NEAR),
    (PROD, "tcp/80", [FIRST, SECOND], NONE, EDGE),
    (PROD, "tcp/22", [FIRST, (2, NEAR, "admin-prohibited")], NONE, NEAR),
    (PROD, "tcp/25", [FIRST, SECOND, (3, EDGE, "host-unreach")], NONE, EDGE),
    (PROD, "tcp/3306", [FIRST, (2, PROD, "reset")], NONE, NEAR),
    (PROD, "tcp/8080", [FIRST, SECOND], ALL, None),  # the way back is dropped
    (PROD, "udp/9000", [FIRST, SECOND, (3, PROD, "udp-response")], ALL, None),
    (PROD, "udp/53", [FIRST, SECOND, (3, PROD, "port-unreach")], ALL, None),
    (PROD, "udp/123", [FIRST, SECOND], NONE, EDGE),
    (PROD, "udp/161", [FIRST], NONE, NEAR),
    (PROD, "icmp", [FIRST, SECOND, (3, PROD, "echo-reply")], ALL, None),
    (PROD6, "tcp/8000", [FIRST6, SECOND6, (3, PROD6, "syn-ack")], ALL, None),
    (PROD6, "tcp/80", [FIRST6, SECOND6], NONE, EDGE6),
    (PROD6, "tcp/443", [FIRST6], NONE, NEAR6),
    (PROD6, "icmp", [FIRST6, SECOND6, (3, PROD6, "echo-reply")], ALL, None),
    (REG, "tcp/8000", [FIRST, SECOND, (3, REG, "syn-ack")], ALL, None),
    (REG, "tcp/6379", [FIRST, SECOND, (3, REG, "reset")], None, None),  # perhaps a firewall in its name
    (REG, "tcp/80", [FIRST, SECOND], None, None),  # nobody there to say that it does not arrive
    (STAGE, "tcp/22", [FIRST, (2, STAGE, "reset")], ALL, None),
    (STAGE, "tcp/80", [FIRST], NONE, NEAR),
    (STAGE, "icmp", [FIRST], NONE, NEAR),
]


@pytest.mark.parametrize(
    ("to", "port", "hops", "reached", "stops_after"), CASES, ids=[f"{c[0]}-{c[1].replace('/', '-')}" for c in CASES]
)
def test_a_trace_says_what_the_routers_do(
    trace: Traces,
    to: str,
    port: str,
    hops: list[tuple[int, str, str]],
    reached: bool | None,
    stops_after: str | None,
) -> None:
    found = trace(to, port)
    assert steps(found) == hops
    assert (found["reached"], found["stops_after"]) == (reached, stops_after), found["text"]
    witness = found["witness"]
    if to == REG:
        assert witness is None
    else:
        assert witness["healthy"], witness
        assert (witness["arrived"] > 0) is reached
        assert witness["least_ttl"] == ((2 if to == STAGE else 3) if reached else None)
    assert found["packets"] <= 48
    assert all(hop["rtt_ms"] is not None for hop in found["hops"] if hop["address"])


def test_a_router_that_says_nothing_is_no_evidence(trace: Traces) -> None:
    estate = trace.system.estate
    mute = "type filter hook output priority 0\nicmp type time-exceeded drop"
    estate.nft("edge", f"table inet mute {{\nchain output {{\n{mute}\n}}\n}}\n")
    try:
        found = trace(PROD, "tcp/8000")
        assert steps(found) == [FIRST, (2, None, "no-response"), (3, PROD, "syn-ack")]
        assert found["reached"] is True
        silent = trace(PROD, "tcp/80")
        assert (silent["reached"], silent["stops_after"]) == (False, NEAR)
        assert f"it stops at {NEAR} (hop 1) or behind it" in silent["text"]
    finally:
        estate.nft("edge", "delete table inet mute")
        assert "mute" not in estate.run("edge", ["nft", "list", "tables"]).check().stdout, "the others have it whole"


def test_a_trace_changes_no_finding(trace: Traces) -> None:
    system = trace.system
    code, _ = system.verify("--from", "dev", "--to", "prod")
    assert code == 1
    before = system.ask("findings")
    finding = next(entry for entry in before if entry["ports"] and "8000" in entry["ports"])
    body = system.ask("explain", finding["id"], "--trace")
    assert body["finding"]["id"] == finding["id"]
    assert body["trace"]["reached"] is True
    assert system.ask("findings") == before
    text = system.cli("explain", finding["id"], "--trace", "--state-dir", "state").check().stdout
    assert "ICMP TTL exceeded" in text
    assert max(map(len, text.splitlines())) <= 100


def test_an_agent_that_is_away_or_has_no_capability_says_so(trace: Traces) -> None:
    system = trace.system
    asked = ("explain", "--from", "stage-1", "--to", PROD, "--port", "tcp/8000", "--trace", "--state-dir", "state")

    def start(*drop_caps: str) -> None:
        system.stop("stage-1")
        system.wait_for(lambda: "stage-1" not in system.connected(), "stage-1 to be gone")
        said = system.cli(*asked)
        assert said.returncode == 2
        assert "stage-1 is not connected" in said.stderr
        system._drop_caps["stage-1"] = drop_caps
        system.start_agent("stage-1")
        system.wait_for(lambda: "stage-1" in system.connected(), "stage-1")

    try:
        start("net_raw")
        done = system.cli(*asked)
        assert done.returncode == 2
        assert "stage-1 cannot trace: this process lacks CAP_NET_RAW" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        system._drop_caps.pop("stage-1", None)
        if "stage-1" in system.processes:
            system.stop("stage-1")
        system.start_agent("stage-1")
        system.wait_for(lambda: can_trace(system, "stage-1"), "stage-1 as it was: the others have it whole")


def can_trace(system: System, agent: str) -> bool:
    """Whether it is there again, with its capability."""
    status = system.api("status") or {"agents": []}
    return any(a["name"] == agent and a["state"] == "connected" and not a["lacks"] for a in status["agents"])


def test_a_stopped_coordinator_says_so(trace: Traces) -> None:
    """`stop` holds for traces as for every round."""
    system = trace.system
    assert _post(system, "stop", {"reason": "maintenance"}) == 200
    try:
        done = system.cli(
            "explain", "--from", "dev-1", "--to", PROD, "--port", "icmp", "--trace", "--state-dir", "state"
        )
        assert (done.returncode, done.stderr.strip()) == (
            2,
            "segwatch explain: all probing is stopped: maintenance",
        )
    finally:
        assert _post(system, "resume", {}) == 200
        assert system.api("status")["stopped"] is None, "the others have it whole"


def _post(system: System, path: str, body: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(system.directory / "state" / "coordinator.sock"))
    with contextlib.closing(connection):
        connection.request("POST", f"/api/v1/{path}", json.dumps(body))
        return connection.getresponse().status
