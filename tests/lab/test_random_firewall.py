"""A random firewall: no false green, no false red, every hole found, 98% of what is closed proven."""

from __future__ import annotations

import re
import time

import pytest

from lab.estate import Estate
from lab.system import System
from tests.lab.cells import judged
from tests.lab.services import serve
from tests.lab.story import told
from tests.lab.truth import draw, unfold

SEEDS = (1, 2, 3)
SOAK = range(1, 21)


def one(seed: int, *, tcp: int, udp: int) -> str:
    """Build it, sweep it, judge it; a line for the record."""
    scene = draw(seed, tcp=tcp, udp=udp)
    with Estate(scene.plan) as estate:
        for host in {name for name, _, _ in scene.services}:
            serve(estate, host, [(proto, port) for name, proto, port in scene.services if name == host])
        system = System(estate, scene.topology, {name: host.name for name, host in scene.agents.items()})
        with told(system, seed=seed):
            system.deploy()
            began = time.monotonic()
            code, body = system.verify("--sweep", "--cells")
            took = time.monotonic() - began
            counters = estate.run("router", ["nft", "list", "chain", "inet", "lab", "forward"]).check().stdout
            assert [agent["state"] for agent in body["agents"]] == ["connected"] * 3
            count = judged(scene, unfold(body["cells"]))
    # The firewall's own counters: a rule that decides some cell must have met packets.
    packets = [
        int(number) for number in re.findall(r"counter packets (\d+) bytes \d+ (?:accept|drop|reject)", counters)
    ]
    used = [False] * len(scene.rules)
    for _, source, address, protocol, port in scene.cells():
        for index, rule in enumerate(scene.rules):
            if rule.matches(source, address, protocol, port):
                used[index] = True
                break
    packets = packets[:-1]  # the last one is the default
    assert len(packets) == len(scene.rules)
    assert all(seen > 0 for seen, use in zip(packets, used, strict=True) if use), (packets, used)
    ratio = count["proven"] / count["closed on a witnessed address"]
    results = {entry["result"] for entry in body["cells"]}
    required_open = any(
        entry["required"] and entry["result"] in {"inconclusive", "stale", "not-run"} for entry in body["cells"]
    )
    assert code == (1 if "fail" in results else 3 if required_open else 0)
    return f"seed {seed}: {dict(count)}, {ratio:.2%} proven, exit {code}, {took:.0f} s"


@pytest.mark.lab
@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_firewall(seed: int) -> None:
    print(one(seed, tcp=200, udp=60))


@pytest.mark.lab
@pytest.mark.soak
@pytest.mark.parametrize("seed", SOAK)
def test_a_random_firewall_at_length(seed: int) -> None:
    print(one(seed, tcp=1000, udp=300))
