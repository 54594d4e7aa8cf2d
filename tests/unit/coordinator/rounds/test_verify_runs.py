"""Verify runs: what fresh results save them from probing again, and how one that waits is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import structs

from coordinator.api.verify import body_of, known
from coordinator.rounds.engine import Engine
from coordinator.rounds.verify_runs import Runs
from coordinator.state.estate import Estate
from coordinator.store import Store
from coordinator.topology.load import parse_topology
from reachability.compare import key_of
from reachability.vocabulary import State
from tests.support.answers import json_of
from tests.support.sample import evidence, judged
from wire.messages import Status
from wire.topics import UpChannel, UpTopic

TOPOLOGY = b"""version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}
  test: {networks: [10.20.0.0/24], agents: {test-1: {addresses: [10.20.0.10]}}}
  prod: {networks: [10.30.0.0/24], agents: {prod-1: {addresses: [10.30.0.10]}}}
probing: {every: 60s, confirm: 1, sweep: {every: 1h, ports: [tcp/1-100]}}
"""
PAIRS = {(a, d) for a in ("dev-1", "test-1", "prod-1") for d in ("dev", "test", "prod") if not a.startswith(d)}


class Probing:
    """An engine whose every probe is answered by proven silence at once, or by nothing that proves anything."""

    def __init__(self) -> None:
        self.exclusive = ""
        self.asked: list[tuple[str, str, str]] = []
        self.proves = True
        self.gate: asyncio.Event | None = None
        self.halt = None
        self.stopped = self.in_blackout = ""
        self.resolved = False
        self.caught_up: list[int] = []  # after so many were asked
        self.estate: Estate

    async def cycle(
        self, agent: str, destinations: tuple[str, ...], schedule: str, run: str, step: Callable[[int], None]
    ) -> None:
        assert self.resolved, "what names lead to changes what has to be probed"
        if self.gate is not None:
            await self.gate.wait()
        self.asked += [(agent, destination, schedule) for destination in destinations]
        for target in self.estate.plan:
            if (target.agent, target.destination in destinations) != (agent, True):
                continue
            ports = target.sweep - target.cycle if schedule == "sweep" else target.cycle
            found = evidence(target, State.FILTERED)
            if not self.proves:
                found = evidence(target, State.FILTERED, control=False)
            if ports:
                name, at = f"R{len(self.asked)}{agent}", self.estate.clock()
                self.estate.matrix.update(key_of(target), ports, judged(found, name, run, at, schedule=schedule))
        step(1)

    @property
    def resolving(self) -> Probing:
        return self

    @property
    def judging(self) -> Probing:
        return self

    async def catch_up(self) -> None:
        self.caught_up.append(len(self.asked))

    def blackout(self) -> str:
        return ""

    async def ask_all(self) -> None:
        self.resolved = True

    @property
    def brake(self) -> Probing:
        return self

    def go_on(self) -> None:
        pass

    async def interrupt(self, _: str) -> None:
        raise AssertionError("no test here interrupts a run that is under way")


async def until(ready: Callable[[], bool]) -> None:
    """Let the others go on until it is so."""
    for _ in range(100_000):
        if ready():
            return
        await asyncio.sleep(0)
    raise AssertionError("in vain")


class World:
    """Runs over an estate whose agents are there; `now` is its clock."""

    def __init__(self, store: Store) -> None:
        self.now = 1_000_000.0
        self.estate = Estate(parse_topology(TOPOLOGY), store, lambda: self.now)
        for name, environment in self.estate.topology.agents().items():
            status = Status(name=name, environment=environment, online=True, raw=True, rate_pps=1000)
            self.estate.take_status(UpTopic(environment, name, UpChannel.STATUS), status, retained=False)
        self.engine = Probing()
        self.engine.estate = self.estate
        self.runs = Runs(self.estate, cast("Engine", self.engine), sleep=lambda _: asyncio.sleep(0))

    async def verify(self, **asked: Any) -> Any:
        """A run to its end: its result."""
        run = self.runs.ask(**{"sweep": False, "source": None, "destination": None, **asked})
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(self.runs.serve(), name="runs")
            await until(lambda: self.body(run)["state"] == "finished")
            serving.cancel()
        assert self.body(run)["error"] is None
        return self.body(run)["result"]

    def body(self, run: str) -> Any:
        """What is known of a run."""
        found = self.runs.get(run)
        assert found is not None
        return json_of(body_of(found))

    def probed(self) -> set[tuple[str, str]]:
        """What was asked of the engine since the last time."""
        asked = {(agent, destination) for agent, destination, _ in self.engine.asked}
        self.engine.asked.clear()
        return asked


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Store(tmp_path / "s.db"))


@pytest.mark.asyncio
async def test_fresh_proof_is_not_probed_again(world: World) -> None:
    first = await world.verify()
    assert world.probed() == PAIRS
    assert "reused" not in first
    world.now += 599
    again = await world.verify(max_age_s=600.0)
    assert world.probed() == set()
    assert (again["result"], again["summary"]) == ("pass", first["summary"])
    total = sum(first["summary"].values())
    assert again["reused"] == {"max_age_s": 600.0, "cells": total, "oldest": "1970-01-12T13:46:40.000Z"}


@pytest.mark.asyncio
async def test_a_run_is_over_when_what_came_late_is_judged(world: World) -> None:
    await world.verify()
    assert world.engine.caught_up == [len(world.engine.asked)]


@pytest.mark.asyncio
async def test_what_is_older_is_probed_again(world: World) -> None:
    await world.verify()
    world.probed()
    world.now += 601
    result = await world.verify(max_age_s=600.0)
    assert world.probed() == PAIRS
    assert (result["result"], result["reused"]["cells"], result["reused"]["oldest"]) == ("pass", 0, None)


@pytest.mark.asyncio
async def test_only_the_pairs_that_are_older_are_probed_again(world: World) -> None:
    await world.verify()
    world.now += 300
    await world.verify(source="dev")
    world.probed()
    world.now += 301
    result = await world.verify(max_age_s=600.0)
    assert world.probed() == {pair for pair in PAIRS if pair[0] != "dev-1"}
    assert result["result"] == "pass"


@pytest.mark.asyncio
async def test_fresh_results_that_prove_nothing_are_tried_again(world: World) -> None:
    world.engine.proves = False
    assert (await world.verify())["result"] == "inconclusive"
    world.probed()
    world.engine.proves = True
    assert (await world.verify(max_age_s=600.0))["result"] == "pass"
    assert world.probed() == PAIRS


@pytest.mark.asyncio
async def test_a_sweep_that_was_never_made_is_made_and_the_fresh_cycle_is_not(world: World) -> None:
    await world.verify()
    world.probed()
    assert (await world.verify(max_age_s=600.0, sweep=True))["result"] == "pass"
    assert {schedule for _, _, schedule in world.engine.asked} == {"sweep"}


@pytest.mark.asyncio
async def test_without_an_age_every_run_is_judged_alone(world: World) -> None:
    await world.verify()
    world.probed()
    await world.verify()
    assert world.probed() == PAIRS


@pytest.mark.asyncio
async def test_a_run_behind_another_ends_at_once(world: World) -> None:
    world.engine.gate = asyncio.Event()
    first, second = (world.runs.ask(sweep=False, source=None, destination=None) for _ in range(2))
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(world.runs.serve(), name="runs")
        await until(lambda: world.body(first)["state"] == "running")
        assert await world.runs.end(second)
        body = world.body(second)
        assert (body["state"], body["ended"], body["result"]["result"]) == ("finished", True, "inconclusive")
        assert set(body["result"]["summary"].values()) == {0, sum(body["result"]["summary"].values())}
        assert body["result"]["summary"]["not_run"]
        world.engine.gate.set()
        await until(lambda: not world.runs.active)
        serving.cancel()
    assert world.body(first)["result"]["result"] == "pass"
    assert world.engine.exclusive == ""
    assert len({agent for agent, _, _ in world.engine.asked}) == 3, "the second was not carried out"


@pytest.mark.asyncio
async def test_runs_are_remembered_the_newest_first(world: World) -> None:
    assert json_of(known(world.runs.all())) == []
    await world.verify()
    world.now += 60
    newest = world.runs.ask(sweep=False, source=None, destination=None)
    first, last = json_of(known(world.runs.all()))
    assert (first["run"], first["state"], last["state"]) == (newest, "waiting", "finished")
    assert first["started"] > last["started"]


@pytest.mark.asyncio
async def test_it_waits_until_it_is_known_how_many_live_under_a_name(world: World) -> None:
    """A process that was not heard to end may be there still; the next status, or none for a while, tells."""
    before = Status(name="dev-1", environment="dev", online=True, raw=True, instance="a", number=1)
    after, ended = structs.replace(before, instance="b"), structs.replace(before, online=False)
    topic = UpTopic("dev", "dev-1", UpChannel.STATUS)
    for status in (before, after):
        world.estate.take_status(topic, status, retained=False)
    run = world.runs.ask(sweep=False, source=None, destination=None)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(world.runs.serve(), name="runs")
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not world.engine.asked
        world.estate.take_status(topic, ended, retained=False)
        await until(lambda: world.body(run)["state"] == "finished")
        serving.cancel()
    assert world.probed() == PAIRS
