"""Two agents and a random firewall between them, to be swept as they are or with something wrong on the way."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.estate import CORE_SEGMENT, Estate, Host, Plan, Segment
from lab.sealed import Process
from lab.system import System
from tests.lab.columns import ALL, judged
from tests.lab.services import serve
from tests.lab.story import told
from tests.lab.truth import BRISK, Rule, Scene

RELAY = Path(__file__).with_name("relay.py")
DEV, PROD, OTHER = "10.10.0.10", "10.30.0.10", "10.40.0.10"
NETWORKS = {"dev": "10.10.0.0/24", "prod": "10.30.0.0/24", "other": "10.40.0.0/24"}
AGENTS = {"dev-1": Host("dev-1", (f"{DEV}/24",)), "prod-1": Host("prod-1", (f"{PROD}/24",))}
SERVICES = (("prod-1", "tcp", 8000), ("prod-1", "udp", 9000), ("dev-1", "tcp", 8888))
UNBOUNDED = 1_000_000_000
TOPOLOGY = """version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
    agents: {{dev-1: {{addresses: [10.10.0.10]}}}}
    services: {{notebook: {{hosts: [10.10.0.10], ports: [tcp/8888]}}}}
  prod:
    networks: [10.30.0.0/24]
    agents: {{prod-1: {{addresses: [10.30.0.10]}}}}
    services: {{app: {{hosts: [10.30.0.10], ports: [tcp/8000, udp/9000]}}}}
probing: {{{brisk}, every: 365d, sweep: {{every: 365d, ports: [tcp/1-{most}, udp/1-{most}]}}, rate_pps: {rate}, flows: {flows}, confirm: 1}}
"""


def scene(
    seed: int, most: int = ALL, rate_pps: int = 200_000, actions: Sequence[str] = (), flows: int = UNBOUNDED
) -> Scene:
    """Two agents and a random firewall between them; `actions` are what its rules may do."""
    rng = random.Random(seed)
    rules = [Rule(NETWORKS["dev"], PROD, "tcp", 8000, 8000, "accept")]
    for _ in range(14):
        source, target = rng.choice((("dev", PROD), ("prod", DEV)))
        protocol = rng.choice(("tcp", "tcp", "udp"))
        low = rng.randint(1, most)
        action = rng.choice(tuple(actions) or ("accept", "accept", "drop", "reset", "icmp"))
        if action == "reset" and protocol == "udp":
            action = "icmp"
        rules.append(
            Rule(NETWORKS[source], target, protocol, low, min(most, low + rng.choice((0, 3, 60, 2000))), action)
        )
    segments = [CORE_SEGMENT]
    for name, hosts in (
        ("dev", AGENTS["dev-1"]),
        ("prod", AGENTS["prod-1"]),
        ("other", Host("noise", (f"{OTHER}/24",))),
    ):
        segments.append(Segment(name, (NETWORKS[name],), (hosts,)))
    span = range(1, most + 1)
    return Scene(
        plan=Plan(tuple(segments), tuple(rule.nft() for rule in rules)),
        rules=tuple(rules),
        topology=TOPOLOGY.format(most=most, rate=rate_pps, flows=flows, brisk=BRISK),
        agents=AGENTS,
        environments={"dev": (AGENTS["dev-1"],), "prod": (AGENTS["prod-1"],)},
        services=SERVICES,
        declared=(),
        sweep={"tcp": span, "udp": span},
    )


def deployed(estate: Estate, drawn: Scene, text: str = "") -> System:
    """Everything, running."""
    system = System(estate, text or drawn.topology, {name: host.name for name, host in AGENTS.items()})
    system.deploy()
    return system


def sweep(
    drawn: Scene,
    *,
    faults: str = "",
    noise: Sequence[int] = (),
    relay: bool = False,
    undecided: bool = False,
    blind: Sequence[str] = (),
    devices: Callable[[Estate], None] = lambda _: None,
    way: str = "ring",
) -> float:
    """Run a verify of everything over the scene with the fault; how much of what is closed was proven.

    `blind`: agents that have no CAP_NET_RAW. `devices`: changes the hosts before anything runs on them.
    `way`: by which dev-1's packets are to leave.
    """
    with Estate(drawn.plan) as estate:
        devices(estate)
        for host in AGENTS:
            serve(estate, host, [(proto, port) for name, proto, port in drawn.services if name == host])
        if faults:
            estate.nft("router", faults)
        if noise:
            estate.nft("router", f"insert rule inet lab forward ip saddr {OTHER} ip daddr {PROD} accept")
            both = [(f"noise-{kind}", port) for port in noise for kind in ("tcp", "udp")]
            serve(estate, "noise", both, against=PROD)
        if relay:
            between(estate, "dev")
        agents = {name: host.name for name, host in AGENTS.items()}
        system = System(estate, drawn.topology, agents, drop_caps=dict.fromkeys(blind, ("net_raw",)))
        with told(system, faults=faults):
            system.deploy()
            began = time.monotonic()
            code, body = system.verify("--sweep", "--cells")
            took = time.monotonic() - began
            count = judged(drawn, body["cells"], undecided=undecided, blind=blind)
            asked = "--from", "dev-1", "--to", PROD, "--port", "tcp/1500"
            left = system.ask("explain", *asked)["evidence"]["way"]
            assert left == way, left
    closed = count["closed on a witnessed address"]
    ratio = count["proven"] / closed if closed else 0.0
    print(f"{dict(count)}, {ratio:.2%} proven, exit {code}, {took:.0f} s")
    assert code in {1, 3}
    return ratio


def between(estate: Estate, segment: str) -> Process:
    """Put a relay between a segment's switch and the router: it delays, reorders and doubles packets."""
    switch = f"switch-{segment}"
    lines = (
        "ip netns add relay\n"
        f"ip -n {switch} link set pr netns relay\n"
        f"ip -n {switch} link add pb type veth peer name inner netns relay\n"
        f"ip -n {switch} link set pb master br0 up\n"
        "ip -n relay link set pr up\nip -n relay link set inner up\n"
    )
    estate.run("", ["sh", "-e"], text=lines).check()
    number = [s.name for s in estate.plan.segments].index(segment)
    for host, interface in ((switch, "pb"), ("router", f"lan{number}")):
        estate.run(host, [sys.executable, str(RELAY), "plain", interface]).check()
    return estate.spawn("relay", [sys.executable, str(RELAY), "inner", "pr"])
