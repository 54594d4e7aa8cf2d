"""What a plan is said to cost."""

from __future__ import annotations

import pytest

from coordinator.tasks import ROUND_S, costs
from coordinator.topology.load import parse_topology
from reachability.plan import build_plan
from reachability.vocabulary import Schedule

TOPOLOGY = b"""version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}
  prod: {networks: [10.30.0.0/24], agents: {prod-1: {addresses: [10.30.0.10]}}}
probing: {rate_pps: 1000, flows: 1000000, sweep: {ports: [tcp/1-10000]}, spread: %s}
"""


@pytest.mark.parametrize(("schedule", "copies"), [(Schedule.CYCLE, 6), (Schedule.SWEEP, 4)])
def test_the_spread_is_waited_for_once_and_a_cycle_tries_twice_more_after_it(schedule: Schedule, copies: int) -> None:
    found = {}
    for spread in (b"100ms", b"10s"):
        topology = parse_topology(TOPOLOGY % spread)
        (found[spread],) = (
            c for c in costs(topology, build_plan(topology, {}, {})) if (c.agent, c.schedule) == ("dev-1", schedule)
        )
    brief, usual = found.values()
    assert brief.packets == usual.packets == round(brief.cells * copies * 1.1)
    assert usual.seconds - brief.seconds == pytest.approx(9.9, abs=0.11)
    assert brief.seconds == pytest.approx(brief.packets / 1000 + ROUND_S + 0.1, abs=0.1)
