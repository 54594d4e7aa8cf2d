"""Whole processes whose wall clocks are wrong, apart, or set while they run."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from agent.offset import recorded
from coordinator.api import agents
from tests.loopback.captured import System
from tests.support.answers import json_of
from tests.support.waiting import until


def seen_at(system: System) -> dict[str, float]:
    """Round to when its cells were observed."""
    found = {c.judged.round: c.judged.observed_at for c in system.daemon.estate.cells() if c.judged is not None}
    assert found
    return found


@pytest.mark.asyncio
@pytest.mark.parametrize("ahead_s", [-86400.0, 600.0])
async def test_an_agent_whose_clock_is_wrong_is_shown_and_works(tmp_path: Path, ahead_s: float) -> None:
    system = System(tmp_path)
    async with system.running("prod-1"), system.agent("dev-1", f"clock={ahead_s}"):
        await until(lambda: system.daemon.estate.agents["dev-1"].online)
        await system.verify()
        estate = system.daemon.estate
        shown = {
            a["name"]: a["clock_skew_s"] for a in json_of(agents.agents_body(estate.agents.values(), estate.clock()))
        }
        assert shown["dev-1"] == pytest.approx(ahead_s, abs=60)
        assert shown["prod-1"] == pytest.approx(0, abs=60)
        assert system.refusals("dev-1") == 0
        assert any(order["type"] == "go" for order in system.orders("dev-1"))
        assert all(abs(time.time() - at) < 300 for at in seen_at(system).values()), "times are the coordinator's"
        ahead, _ = recorded(tmp_path / "dev-1") or (0.0, 0.0)
        assert ahead == pytest.approx(ahead_s, abs=60), "and `agent --check` has it"


@pytest.mark.asyncio
@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
async def test_a_coordinator_whose_clock_is_set_goes_on(tmp_path: Path, step_s: float) -> None:
    system = System(tmp_path)
    async with system.running("dev-1", "prod-1"):
        await system.verify()
        before = seen_at(system)
        system.daemon.estate.clock._wall = lambda: time.time() + step_s  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        now = system.daemon.estate.clock()
        assert {abs(now - at) < 300 for at in seen_at(system).values()} == {True}, "what was seen is as old as it is"
        assert all(agent.online for agent in system.daemon.estate.agents.values())
        await system.verify()
        assert not before.keys() & seen_at(system).keys(), "and what is seen now takes its place"
        assert (system.refusals("dev-1"), system.refusals("prod-1")) == (0, 0)
        assert system.daemon.status().refused.count == 0


@pytest.mark.asyncio
async def test_a_stop_reaches_an_agent_that_was_away_when_it_was_sent(tmp_path: Path) -> None:
    system = System(tmp_path)
    async with system.running("prod-1"):
        await system.daemon.engine.stop("maintenance")
        async with system.agent("dev-1"):
            await until(lambda: system.stops("dev-1"))
