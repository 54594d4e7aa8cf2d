"""An agent with two addresses, swept from each to each: what the firewall lets one do must not be said of the other."""

from __future__ import annotations

import pytest

from lab.estate import CORE_SEGMENT, Estate, Host, Plan, Segment
from lab.system import System
from tests.lab.cells import judged
from tests.lab.services import serve
from tests.lab.truth import BRISK, Rule, Scene, unfold

pytestmark = pytest.mark.lab

DEV = Host("dev-1", ("10.10.0.10/24", "10.10.0.12/24"))
PROD = Host("prod-1", ("10.30.0.10/24", "10.30.0.12/24"))
RULES = (
    Rule("10.10.0.12", "10.30.0.12", "tcp", 800, 1200, "accept"),
    Rule("10.10.0.10", "10.30.0.12", "udp", 100, 200, "accept"),
    Rule("10.10.0.10", "10.30.0.0/24", "tcp", 300, 400, "reset"),
    Rule("10.10.0.12", "10.30.0.10", "tcp", 22, 22, "accept"),
    Rule("10.10.0.10", "10.30.0.10", "icmp", 0, 0, "accept"),
)
TOPOLOGY = """version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10, 10.10.0.12]}}}
  prod:
    networks: [10.30.0.0/24]
    agents: {prod-1: {addresses: [10.30.0.10, 10.30.0.12]}}
    services: {app: {hosts: [10.30.0.12], ports: [tcp/1000]}}
probing: {BRISK, every: 365d, confirm: 1, rate_pps: 20000, sweep: {every: 365d, ports: [tcp/1-2000, udp/1-300]}}
""".replace("BRISK", BRISK)


def test_each_address_is_judged_by_itself() -> None:
    segments = (CORE_SEGMENT, Segment("dev", ("10.10.0.0/24",), (DEV,)), Segment("prod", ("10.30.0.0/24",), (PROD,)))
    scene = Scene(
        plan=Plan(segments, tuple(rule.nft() for rule in RULES)),
        rules=RULES,
        topology=TOPOLOGY,
        agents={"dev-1": DEV, "prod-1": PROD},
        environments={"dev": (DEV,), "prod": (PROD,)},
        services=(("prod-1", "tcp", 1000),),
        declared=(),
        sweep={"tcp": range(1, 2001), "udp": range(1, 301)},
    )
    with Estate(scene.plan) as estate:
        serve(estate, "prod-1", [("tcp", 1000)])
        system = System(estate, TOPOLOGY, {"dev-1": "dev-1", "prod-1": "prod-1"})
        system.deploy()
        code, body = system.verify("--sweep", "--cells")
        count = judged(scene, unfold(body["cells"]))
    assert code == 1
    assert count["open"] == 401 + 101 + 1 + 1
    assert count["proven"] == count["closed on a witnessed address"]
