"""Verify runs: everything once now, through the agents that are there, judged alone."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from coordinator import runview
from coordinator.estate import Estate
from coordinator.rounds import Engine
from coordinator.scheduler import destinations_for
from coordinator.views import Body
from reachability.compare import Cell, in_scope
from reachability.plan import PlanTarget

FRESH_S, LOST_S = 30.0, 10.0
KEEP = 20

log = structlog.get_logger("verify")


@dataclass(slots=True)
class Run:
    """One verify run."""

    id: str
    sweep: bool
    source: str | None
    destination: str | None
    state: str = "waiting"  # waiting | running | finished
    waiting_for: list[str] = field(default_factory=list)
    started: float = 0.0
    finished: float = 0.0
    total: int = 0  # cells that it is about
    done: int = 0  # cells that were sent to
    ended: bool = False  # before it was through
    cells: tuple[Cell, ...] = ()
    result: Body | None = None
    error: str = ""


class Runs:
    """Verify runs, one after the other."""

    def __init__(
        self, estate: Estate, engine: Engine, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._estate = estate
        self._engine = engine
        self._sleep = sleep
        self._runs: dict[str, Run] = {}
        self._queue: asyncio.Queue[Run] = asyncio.Queue()

    @property
    def active(self) -> bool:
        """Whether a run is waiting or under way: the schedule holds back meanwhile."""
        return any(run.state != "finished" for run in self._runs.values())

    def ask(self, *, sweep: bool, source: str | None, destination: str | None) -> str:
        """Ask for a run; its id. ValueError for an environment that is not declared."""
        known = self._estate.topology.environments
        for name in (source, destination):
            if name is not None and name not in known:
                raise ValueError(f"there is no environment '{name}'; there are: {', '.join(known)}")
        run = Run(secrets.token_hex(6), sweep, source, destination, started=self._estate.clock())
        self._runs[run.id] = run
        while len(self._runs) > KEEP:
            self._runs.pop(next(iter(self._runs)))
        self._queue.put_nowait(run)
        return run.id

    def body(self, run_id: str, *, with_cells: bool) -> Body | None:
        """What is known of a run; None for an unknown id."""
        run = self._runs.get(run_id)
        if run is None:
            return None
        found = self._estate.book.findings
        verified = run.result
        if verified is not None and with_cells:
            verified = self._verified(run, with_cells=True)
        return runview.run_body(
            self._estate.topology,
            run.cells,
            verified,
            found,
            run=run.id,
            state=run.state,
            waiting_for=run.waiting_for,
            progress={"cells": run.total, "done": run.done},
            error=run.error or None,
        )

    async def end(self, run_id: str) -> bool:
        """Cut a run off: what it has not tried is not run. False for one that is unknown or over."""
        run = self._runs.get(run_id)
        if run is None or run.state == "finished" or run.ended:
            return False
        run.ended = True
        if run.state == "running":
            await self._engine.stop("the verify run was interrupted")
        return True

    async def serve(self) -> None:
        """Carry runs out as they are asked for."""
        while True:
            run = await self._queue.get()
            try:
                await self._carry_out(run)
            except Exception as error:
                log.exception("a verify run failed", run=run.id)
                run.error = f"the run failed: {error}"
            finally:
                self._engine.exclusive = ""
                if run.ended:
                    self._engine.resume()
                run.finished = run.finished or self._estate.clock()
                run.state = "finished"

    async def _carry_out(self, run: Run) -> None:
        await self._wait_for_agents(run)
        self._engine.exclusive = run.id
        self._engine.resume()
        run.state = "running"
        run.started = self._estate.clock()
        jobs = []
        for agent, state in self._estate.agents.items():
            if run.ended or not state.online or run.source not in {None, state.environment}:
                continue
            destinations = tuple(d for d in destinations_for(self._estate, agent) if run.destination in {None, d})
            jobs.append((agent, destinations))
        trying = dict(jobs)
        run.total = sum(
            (len(t.cycle) or 1) + (len(t.sweep - t.cycle) if run.sweep else 0)
            for t in self._planned(run)
            if t.destination in trying.get(t.agent, ())
        )
        async with asyncio.TaskGroup() as group:
            for agent, destinations in jobs:
                group.create_task(self._source(run, agent, destinations), name=f"verify {agent}")
        run.finished = self._estate.clock()
        # What names led to has changed the plan meanwhile.
        run.cells = self._estate.cells(self._planned(run), run=run.id)
        run.result = self._verified(run, with_cells=False)

    def _planned(self, run: Run) -> tuple[PlanTarget, ...]:
        return tuple(in_scope(self._estate.plan, sweep=run.sweep, source=run.source, destination=run.destination))

    async def _source(self, run: Run, agent: str, destinations: tuple[str, ...]) -> None:
        def step(cells: int) -> None:
            run.done += cells

        for schedule in ("cycle", "sweep") if run.sweep else ("cycle",):
            if run.ended:
                return
            await self._engine.cycle(agent, destinations, schedule, run.id, step)

    def _verified(self, run: Run, *, with_cells: bool) -> Body:
        return runview.verify(
            self._estate.topology,
            run.cells,
            self._estate.book.findings,
            self._estate.agents.values(),
            started=run.started,
            finished=run.finished,
            scope=(run.source, run.destination),
            with_cells=with_cells,
        )

    async def _wait_for_agents(self, run: Run) -> None:
        """30 s from the coordinator's start for an agent that was never there, 10 s for one that was lost."""
        began = self._estate.clock()
        fresh_until = max(self._estate.started + FRESH_S, began)
        while True:
            now = self._estate.clock()
            missing = [
                name
                for name, state in self._estate.agents.items()
                if not state.online and now < (began + LOST_S if state.last_seen else max(fresh_until, began + LOST_S))
            ]
            run.waiting_for = [name for name, state in self._estate.agents.items() if not state.online]
            if not missing or run.ended:
                return
            await self._sleep(0.1)
