"""Eight estates: what stands between the environments, what serves in them, and what is declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lab.system import System
from tests.lab.services import serve
from tests.lab.small import PROD, REG, SERVICES, TO_APP, TO_REGISTRY, topology

DECLARED = """paths:
  - {name: ci-promotes-models, from: stage, to: prod.registry, expect: required, owner: ml, justification: releases}
waivers:
  - {id: W-1, from: dev, to: prod.app, ports: [tcp/8000], owner: ml, justification: until the move, expires: 2099-01-01T00:00:00Z}"""
SINK = "      metrics: {hosts: [10.30.0.10, 10.30.0.21], ports: [udp/8125]}"
HOST_FIREWALL = f"""table inet own {{ chain in {{ type filter hook input priority 0; ip saddr 10.10.0.0/24 ip daddr {PROD} drop\n}}\n}}\n"""
OUTPUT_FILTER = (
    "table inet own { chain out { type filter hook output priority 0; tcp dport { 22, 80, 443 } drop\n}\n}\n"
)
REDIRECT = (
    "table ip box { chain pre { type nat hook prerouting priority -100; "
    "ip saddr 10.10.0.0/24 ip daddr 10.30.0.0/24 meta l4proto tcp redirect to :7777\n}\n}\n"
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """An estate of `tests.lab.small` with one thing about it. `rules` are the router's; `before` is done before the run."""

    about: str
    rules: Sequence[str] = ()
    topology: str = field(default_factory=topology)
    services: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=lambda: SERVICES)
    before: Callable[[System], object] = lambda _: None


def _middlebox(system: System) -> None:
    serve(system.estate, "router", [("tcp", 7777)])
    system.estate.nft("router", REDIRECT)


SCENARIOS: Mapping[str, Scenario] = {
    "sealed": Scenario("nothing crosses, and all of it is proven"),
    "leak": Scenario("dev reaches prod's registry, which no path allows", rules=[TO_REGISTRY]),
    "waived-and-missing": Scenario(
        "a waived path is open, and one that is required is closed",
        rules=[TO_APP],
        topology=topology(paths=DECLARED),
    ),
    "nothing-listens": Scenario(
        "a service is down behind an open rule, and a UDP service says nothing on a host without an agent",
        rules=[TO_REGISTRY, f"ip saddr 10.10.0.0/24 ip daddr {REG} icmp type echo-request accept"],
        topology=topology(services=SINK),
        services={**SERVICES, "reg": (), "prod-1": (*SERVICES["prod-1"], ("sink", 8125))},
    ),
    "one-way": Scenario(
        "datagrams reach a service that never answers, past a firewall that lets them through",
        rules=[f"ip saddr 10.10.0.0/24 ip daddr {address} udp dport 8125 accept" for address in (PROD, REG)],
        topology=topology(services=SINK),
        services={
            **SERVICES,
            "reg": (("tcp", 5000), ("sink", 8125)),
            "prod-1": (*SERVICES["prod-1"], ("sink", 8125)),
        },
    ),
    "host-firewall": Scenario(
        "what the router lets through, the target's own firewall drops",
        rules=[TO_APP],
        before=lambda system: system.estate.nft("prod-1", HOST_FIREWALL),
    ),
    "cut-off": Scenario(
        "the source's own filter takes its packets: nothing of that is proof",
        before=lambda system: system.estate.nft("dev-1", OUTPUT_FILTER),
    ),
    "middlebox": Scenario("a box on the way accepts every connection to prod", before=_middlebox),
}
