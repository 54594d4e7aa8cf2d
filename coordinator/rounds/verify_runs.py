"""Verify runs: everything once now, through the agents that are there, judged alone."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from coordinator.json_types import iso
from coordinator.rounds.engine import Engine
from coordinator.rounds.scheduler import destinations_for, said
from coordinator.state.estate import Estate
from coordinator.state.roster import AgentState
from coordinator.store import Losses, StoreError
from reachability.compare import Cell, in_scope
from reachability.coverage import PROVEN
from reachability.finding import Finding
from reachability.life import EventKind
from reachability.plan import PlanTarget
from reachability.topology import Topology
from reachability.vocabulary import Result, Schedule

FRESH_S, LOST_S = 30.0, 10.0
KEEP = 20
SCHEDULES = (Schedule.CYCLE, Schedule.SWEEP)  # in the order that a run goes by them

log = structlog.get_logger("verify")


class Stopped(Exception):  # noqa: N818 - reads as what it is
    """All probing is stopped, so that nothing can be verified."""

    def __init__(self, reason: str, since: str) -> None:
        super().__init__(f"all probing is stopped since {since}: {reason}. To go on: segwatch resume")


class InBlackout(Stopped):
    """Nothing may be probed now, unless a person says why it has to be."""

    def __init__(self, window: str) -> None:
        Exception.__init__(
            self, f"{window}. To probe all the same: segwatch verify --in-blackout --reason TEXT, which is recorded"
        )


@dataclass(frozen=True, slots=True)
class Held:
    """What the coordinator held when a run was over: the run's own cells, and all else that they are judged and told by."""

    topology: Topology
    plan: tuple[PlanTarget, ...]
    cells: tuple[Cell, ...]
    findings: tuple[Finding, ...]
    agents: tuple[AgentState, ...]
    losses: Mapping[str, Losses]


class RunState(StrEnum):
    """How far a run is."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(slots=True)
class Run:
    """One verify run."""

    id: str
    sweep: bool
    source: str | None
    destination: str | None
    in_blackout: str = ""  # why it probes in blackouts, too; "": it does not
    max_age_s: float | None = None  # what is not older, and proven, is not probed again
    since: float = math.inf  # epoch seconds: what was observed from then on counts too
    state: RunState = RunState.WAITING
    waiting_for: list[str] = field(default_factory=list)
    started: float = 0.0
    finished: float = 0.0
    total: int = 0  # cells that it is about
    done: int = 0  # cells that were sent to
    ended: bool = False  # before it was through
    held: Held | None = None  # once it is over
    error: str = ""
    stopped: str = ""  # why all probing was stopped when it ended


class Runs:
    """Verify runs, one after the other."""

    def __init__(
        self,
        estate: Estate,
        engine: Engine,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._estate = estate
        self._engine = engine
        self._sleep, self._steady = sleep, steady
        self._began = steady()
        self._runs: dict[str, Run] = {}
        self._current: Run | None = None
        self._queue: asyncio.Queue[Run] = asyncio.Queue()

    @property
    def active(self) -> bool:
        """Whether a run is waiting or under way: the schedule holds back meanwhile."""
        return any(run.state is not RunState.FINISHED for run in self._runs.values())

    def ask(
        self,
        *,
        sweep: bool,
        source: str | None,
        destination: str | None,
        max_age_s: float | None = None,
        in_blackout: str = "",
        by: str = "",
    ) -> str:
        """Ask for a run; its id. `in_blackout`: why it probes in blackouts too, said by `by`.

        ValueError for an environment that is not declared, `Stopped` while all probing is, `InBlackout` in one.
        """
        if halt := self._engine.brake.halt:
            raise Stopped(halt.reason, iso(halt.at) or "")
        known = self._estate.topology.environments
        for name in (source, destination):
            if name is not None and name not in known:
                raise ValueError(f"there is no environment '{name}'; there are: {', '.join(known)}")
        now = self._estate.clock()
        if (window := self._engine.brake.blackout()) and not in_blackout:
            raise InBlackout(window)
        run = Run(secrets.token_hex(6), sweep, source, destination, in_blackout, max_age_s, started=now)
        if in_blackout:
            self._estate.note(EventKind.IN_BLACKOUT, in_blackout, by)
        if max_age_s is not None:
            run.since = now - max_age_s
        self._runs[run.id] = run
        while len(self._runs) > KEEP:
            self._runs.pop(next(iter(self._runs)))
        self._queue.put_nowait(run)
        return run.id

    def get(self, run_id: str) -> Run | None:
        """What is known of a run; None for one that is unknown or forgotten."""
        return self._runs.get(run_id)

    def all(self) -> list[Run]:
        """Those that are remembered, the newest first."""
        return list(reversed(self._runs.values()))

    async def end(self, run_id: str) -> bool:
        """Cut a run off: what it has not tried is not run. False for one that is unknown or over."""
        run = self._runs.get(run_id)
        if run is None or run.state is RunState.FINISHED or run.ended:
            return False
        run.ended = True
        if run is not self._current:
            self._conclude(run)  # after another, which may take long
        elif run.state is RunState.RUNNING:
            await self._engine.brake.interrupt("the verify run was interrupted")
        return True

    async def serve(self) -> None:
        """Carry runs out as they are asked for."""
        while True:
            run = await self._queue.get()
            if run.state is RunState.FINISHED:
                continue
            self._current = run
            self._engine.brake.in_blackout = run.id if run.in_blackout else ""
            try:
                await self._carry_out(run)
            except* StoreError as group:  # no probe without a record of it
                run.error = f"the run failed: {said(group)}"
            except* Exception as group:
                log.exception("a verify run failed", run=run.id)
                run.error = f"the run failed: {group.exceptions[0]}"
            finally:
                self._engine.exclusive = self._engine.brake.in_blackout = ""
                self._current = None
                if run.ended:
                    self._engine.brake.go_on()
                run.finished = run.finished or self._estate.clock()
                run.state = RunState.FINISHED

    async def _carry_out(self, run: Run) -> None:
        if self._wanted(run):
            await self._wait_for_agents(run)
        self._engine.exclusive = run.id
        if not run.ended:
            self._engine.brake.go_on()
        run.state = RunState.RUNNING
        run.started = self._estate.clock()
        if not self._engine.stopped:
            await self._engine.resolving.ask_all()
        wanted = self._wanted(run)
        jobs: dict[str, dict[Schedule, tuple[str, ...]]] = {}  # agent -> schedule -> destinations
        for agent, state in self._estate.agents.items():
            if run.ended or not self._estate.online(agent) or run.source not in {None, state.environment}:
                continue
            there = [d for d in destinations_for(self._estate, agent) if run.destination in {None, d}]
            jobs[agent] = {
                schedule: tuple(d for d in there if (agent, d, schedule) in wanted)
                for schedule in (SCHEDULES if run.sweep else SCHEDULES[:1])
            }
        run.total = sum(
            len(t.ports_in(schedule))
            for t in self._planned(run)
            for schedule in SCHEDULES
            if t.destination in jobs.get(t.agent, {}).get(schedule, ())
        )
        async with asyncio.TaskGroup() as group:
            for agent, by_schedule in jobs.items():
                group.create_task(self._source(run, agent, by_schedule), name=f"verify {agent}")
        await self._engine.judging.catch_up()
        self._conclude(run)

    def _conclude(self, run: Run) -> None:
        """Judge what the run has shown. What names led to has changed the plan meanwhile."""
        run.finished = self._estate.clock()
        brake = self._engine.brake
        run.stopped = brake.halt.reason if brake.halt else "" if run.in_blackout else brake.blackout()
        estate = self._estate
        run.held = Held(
            topology=estate.topology,
            plan=estate.plan,
            cells=estate.cells(self._planned(run), run=run.id, since=run.since),
            findings=estate.book.findings,
            agents=tuple(estate.agents.values()),
            losses=dict(estate.losses),
        )
        run.state = RunState.FINISHED

    def _wanted(self, run: Run) -> set[tuple[str, str, Schedule]]:
        """What has to be probed as (agent, destination, schedule): all, but what fresh results prove."""
        if run.max_age_s is None:
            planned = self._planned(run)
            return {(t.agent, t.destination, schedule) for t in planned for schedule in SCHEDULES}
        return {
            (cell.key.agent, cell.key.destination, cell.schedule)
            for cell in self._estate.cells(self._planned(run), run=run.id, since=run.since)
            if cell.result is Result.NOT_RUN or (cell.required and cell.result not in PROVEN)
        }

    def _planned(self, run: Run) -> tuple[PlanTarget, ...]:
        return tuple(in_scope(self._estate.plan, sweep=run.sweep, source=run.source, destination=run.destination))

    async def _source(self, run: Run, agent: str, by_schedule: Mapping[Schedule, tuple[str, ...]]) -> None:
        def step(cells: int) -> None:
            run.done += cells

        for schedule, destinations in by_schedule.items():
            if run.ended:
                return
            if not destinations:
                continue
            await self._engine.cycle(agent, destinations, schedule, run.id, step)

    async def _wait_for_agents(self, run: Run) -> None:
        """30 s from the coordinator's start for an agent that was never there, 10 s for one that was lost."""
        began = self._steady()  # a clock that is set must not make it wait for an hour
        fresh_until = max(self._began + FRESH_S, began)
        while True:
            now = self._steady()
            missing = [
                name
                for name, state in self._estate.agents.items()
                if (state.online and not self._estate.online(name))  # it says soon how many there are of it
                or (
                    not state.online and now < (began + LOST_S if state.last_seen else max(fresh_until, began + LOST_S))
                )
            ]
            run.waiting_for = [name for name, state in self._estate.agents.items() if not state.online]
            if not missing or run.ended:
                return
            await self._sleep(0.1)
