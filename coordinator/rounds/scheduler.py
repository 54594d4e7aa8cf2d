"""Knows when, not what: each agent's cycles and sweeps at a constant phase of their period, never in a blackout."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from coordinator.rounds import requests
from coordinator.state.estate import Estate
from coordinator.store import StoreError
from reachability.blackout import active_blackout
from reachability.vocabulary import Schedule

log = structlog.get_logger("scheduler")


class Turn(NamedTuple):
    """What comes again and again: one schedule of one agent."""

    agent: str
    schedule: Schedule


class Due(NamedTuple):
    """When a turn comes next (epoch seconds), and by which period that was reckoned."""

    period_s: float
    at: float


Run = Callable[[str, tuple[str, ...], Schedule], Awaitable[None]]
LOOK_S = 5.0
OVERDUE_S = 60.0  # sweeps that are overdue are spread over this time


def phase(agent: str, schedule: str, period_s: float) -> float:
    """How far into each period an agent starts: spread by its name, the same after every restart."""
    digest = hashlib.sha256(f"{schedule} {agent}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 * period_s


def next_due(agent: str, schedule: str, period_s: float, now: float) -> float:
    """The first start after `now` (epoch seconds)."""
    offset = phase(agent, schedule, period_s)
    at = (int((now - offset) // period_s) + 1) * period_s + offset
    return at if at > now else at + period_s  # rounding may leave it at `now` itself


def destinations_for(estate: Estate, agent: str) -> tuple[str, ...]:
    """The environments that an agent probes, in an order of its own: sources that start together do not queue up."""
    names = list(estate.topology.environments)
    own = names.index(estate.agents[agent].environment)
    return tuple(names[(own + step) % len(names)] for step in range(1, len(names)))


class Scheduler:
    """Starts cycles and sweeps. `held` says why nothing may start now, "" when it may."""

    def __init__(
        self,
        estate: Estate,
        run: Run,
        *,
        held: Callable[[], str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._estate = estate
        self._run = run
        self._held = held
        self._sleep = sleep

    async def run(self) -> None:
        """Schedule for ever. A new topology's agents and periods are picked up as they come."""
        running: dict[Turn, asyncio.Task[None]] = {}
        due: dict[Turn, Due] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                now = self._estate.clock()
                periods = self._periods()
                due = {turn: entry for turn, entry in due.items() if periods.get(turn) == entry.period_s}
                for turn, period_s in periods.items():
                    at = due.setdefault(turn, Due(period_s, self._first(turn, period_s, now))).at
                    # A clock that was set back an hour must not stop the schedule for an hour.
                    if at > now + period_s + LOOK_S:
                        due[turn] = Due(period_s, next_due(*turn, period_s, now))
                    if at > now:
                        continue
                    due[turn] = Due(period_s, next_due(*turn, period_s, now))
                    task = running.get(turn)
                    if (task is None or task.done()) and self._may(turn.agent):
                        name = f"{turn.schedule} of {turn.agent}"
                        running[turn] = group.create_task(self._one(*turn), name=name)
                wait = min((entry.at for entry in due.values()), default=now + LOOK_S) - self._estate.clock()
                await self._sleep(min(LOOK_S, max(0.01, wait)))

    def _first(self, turn: Turn, period_s: float, now: float) -> float:
        if turn.schedule is Schedule.SWEEP and requests.sweep_overdue(
            self._estate.plan, self._estate.matrix, turn.agent, self._estate.clock() - period_s
        ):
            return now + phase(turn.agent, "overdue", min(period_s, OVERDUE_S))
        return next_due(*turn, period_s, now)

    def _periods(self) -> dict[Turn, float]:
        probing = self._estate.topology.probing
        found = {}
        for agent in self._estate.agents:
            found[Turn(agent, Schedule.CYCLE)] = probing.every_s
            if probing.sweep_every_s and probing.sweep_ports:
                found[Turn(agent, Schedule.SWEEP)] = probing.sweep_every_s
        return found

    def _may(self, agent: str) -> bool:
        if self._held() or not self._estate.online(agent):
            return False
        now = datetime.fromtimestamp(self._estate.clock(), UTC)
        return active_blackout(self._estate.topology.probing.blackout, now) is None

    async def _one(self, agent: str, schedule: Schedule) -> None:
        try:
            await self._run(agent, destinations_for(self._estate, agent), schedule)
        except* StoreError as group:  # no probe without a record of it
            self._estate.cannot_write(StoreError(said(group)))
        except* Exception:
            log.exception("a scheduled run failed", agent=agent, schedule=schedule)


def said(group: BaseExceptionGroup[StoreError]) -> str:
    """What the errors of a group say, each once."""
    return ", ".join(dict.fromkeys(_texts(group)))


def _texts(group: BaseExceptionGroup[StoreError]) -> Iterator[str]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _texts(error)
        else:
            yield str(error)
