"""Thousands of ports, and at length every one, over a random firewall: the truth as columns, from the rules alone."""

from __future__ import annotations

import time

import pytest

from lab.estate import Estate
from lab.system import System
from tests.lab.columns import ALL, judged
from tests.lab.services import serve
from tests.lab.story import told
from tests.lab.truth import draw

SEEDS = (1,)
SOAK = range(1, 21)
RATE_PPS = 300_000


def one(seed: int, tcp: int = ALL, udp: int = ALL) -> str:
    """Build it, sweep it, judge it; a line for the record."""
    scene = draw(seed, tcp=tcp, udp=udp, rate_pps=RATE_PPS)
    with Estate(scene.plan) as estate:
        for host in {name for name, _, _ in scene.services}:
            serve(estate, host, [(proto, port) for name, proto, port in scene.services if name == host])
        system = System(estate, scene.topology, {name: host.name for name, host in scene.agents.items()})
        with told(system, seed=seed):
            system.deploy()
            began = time.monotonic()
            code, body = system.verify("--sweep", "--cells")
            took = time.monotonic() - began
            count = judged(scene, body["cells"])
    ratio = count["proven"] / count["closed on a witnessed address"]
    assert ratio >= 0.98, f"only {ratio:.2%} of the closed cells proven"  # noqa: PLR2004
    assert code in {1, 3}
    return f"seed {seed}: {dict(count)}, {ratio:.2%} proven, exit {code}, {took:.0f} s"


@pytest.mark.lab
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.long
def test_thousands_of_ports_of_a_random_firewall(seed: int) -> None:
    """Every port goes the same way (test_sweep_faults has them all between two hosts): two processors are shared here."""
    print(one(seed, 8000, 4000))


@pytest.mark.lab
@pytest.mark.soak
@pytest.mark.parametrize("seed", SOAK)
def test_every_port_of_a_random_firewall(seed: int) -> None:
    print(one(seed))
