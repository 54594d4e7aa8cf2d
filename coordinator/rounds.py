"""The round engine: arm, go, done, close, conclude; many rounds at a time, one endpoint in one round at a time.

A participant that is missing or dies ends the round for its own cells only: every wait has an end.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Protocol

import structlog

from coordinator import orders
from coordinator.echo import Echo
from coordinator.estate import Estate, round_data
from coordinator.live import Live
from coordinator.metrics import Durations
from coordinator.orders import Controls
from coordinator.store import Report
from reachability.followups import FollowUp
from reachability.life import Event
from reachability.observation import ControlTarget, RoundData, RoundSpec, WitnessReport
from reachability.vocabulary import RoundKind
from wire.messages import Armed, Close, Done, Down, Resolve, Resolved, Stop

ARM_S, RESOLVE_S, REPORT_S, GONE_S = 5.0, 8.0, 10.0, 3.0
BUSY_S = 10.0
MOST_FOLLOWUPS = 4
LEAST_TAIL_S = 0.2
LATELY_S = 120.0

log = structlog.get_logger("rounds")


class Post(Protocol):
    """Sends a signed message down to an agent."""

    async def __call__(self, agent: str, body: Down) -> None:
        """Returns once the broker has it; a broker that is away loses it, and the round's deadlines say so."""


class Engine:
    """Runs rounds. `events` gets what they did to the findings."""

    def __init__(
        self,
        estate: Estate,
        post: Post,
        echo: Echo,
        controls: Callable[[], Controls],
        *,
        events: Callable[[tuple[Event, ...]], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._estate = estate
        self._post = post
        self._echo = echo
        self._controls = controls
        self._events = events
        self._sleep = sleep
        self._live: dict[str, Live] = {}
        self._lookups: dict[str, asyncio.Future[Resolved]] = {}
        self._sources: dict[str, asyncio.Lock] = {}
        self._destinations: dict[str, asyncio.Lock] = {}
        self.durations = Durations()
        self.exclusive = ""  # the verify run that has everything to itself
        self.stopped = ""

    # -- what comes in --------------------------------------------------------------------------------------------

    def report(self, report: Report, received: float) -> None:
        """A report is in the store; wake the round that waits for it, or conclude an old one again."""
        live = self._live.get(report.round)
        if live is None:
            self._events(self._estate.conclude_again(report.round))
            return
        live.reports.append(report)
        if not isinstance(report, WitnessReport) and report.role == "source":
            live.observed_at = received
        live.changed.set()

    def answer(self, agent: str, message: Armed | Done | Resolved) -> None:
        """What an agent says of a round."""
        if isinstance(message, Resolved):
            waiting = self._lookups.get(message.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
            return
        live = self._live.get(message.round)
        if live is None or message.agent != agent:
            return
        if isinstance(message, Armed):
            live.armed[agent] = True
            live.problems.extend(f"{agent}: {problem}" for problem in message.problems)
        elif agent == live.spec.source:
            live.done = message
            live.problems.extend(f"{agent}: {problem}" for problem in message.problems)
        live.changed.set()

    # -- what is done ---------------------------------------------------------------------------------------------

    async def cycle(
        self,
        agent: str,
        destinations: tuple[str, ...],
        schedule: str,
        run: str = "",
        step: Callable[[int], None] = lambda _: None,
    ) -> None:
        """All rounds of a source to these environments, one after the other; tails and follow-ups overlap the next.

        `step` is told how many cells were sent to, round by round.
        """
        await self._look_up(agent)
        plan = self._estate.plan
        if schedule == "sweep":  # one that was cut off goes on where it stopped
            plan = tuple(orders.by_need(plan, self._estate.matrix))
        async with asyncio.TaskGroup() as tails:
            for destination in destinations:
                parts = orders.targets_of(
                    self._estate.topology, plan, agent, destination, schedule, self._estate.agents
                )
                for targets in parts:
                    spec = RoundSpec(
                        round=round_name(),
                        kind=RoundKind.NORMAL,
                        schedule=schedule,
                        source=agent,
                        source_environment=self._estate.agents[agent].environment,
                        destination=destination,
                        targets=targets,
                        run=run,
                    )
                    # A scheduled round that came after a verify's would take its cells away from that run.
                    if self.stopped or self.exclusive not in {"", run} or not self._estate.agents[agent].online:
                        return
                    sent = asyncio.Event()
                    tails.create_task(self._round_and_after(spec, sent), name=f"round {spec.round}")
                    await sent.wait()
                    step(orders.cells_of(targets))

    async def trace(self, spec: RoundSpec) -> Live:
        """A round of kind trace, which concludes nothing; TimeoutError when others have its source or destination too long."""
        return await self._round(spec, "", None, asyncio.Event(), BUSY_S)

    async def stop(self, reason: str) -> None:
        """End all probing everywhere, until `resume`."""
        self.stopped = reason or "stopped"
        for agent, state in self._estate.agents.items():
            if state.online:
                await self._post(agent, Stop(reason=reason))
        for live in self._live.values():
            live.changed.set()

    def resume(self) -> None:
        """Probe again."""
        self.stopped = ""

    async def _look_up(self, agent: str) -> None:
        names = self._estate.names_for(agent)
        if not names or not self._estate.agents[agent].online:
            return
        request = Resolve(id=secrets.token_hex(8), names=names)
        answer: asyncio.Future[Resolved] = asyncio.get_running_loop().create_future()
        self._lookups[request.id] = answer
        try:
            await self._post(agent, request)
            async with asyncio.timeout(RESOLVE_S):
                self._estate.take_lookups(agent, (await answer).lookups)
        except TimeoutError:
            log.warning("no answer to a lookup", agent=agent, names=len(names))
        finally:
            del self._lookups[request.id]

    async def _round_and_after(self, spec: RoundSpec, sent: asyncio.Event) -> None:
        """A round with its follow-ups; `sent` is set when the main round's packets are out."""
        group: list[RoundData] = []
        try:
            live = await self._round(spec, spec.round, None, sent)
            group.append(round_data(live.spec, live.armed, live.reports))
            if not live.has_source():
                log.warning("round without a report", round=spec.round, source=spec.source, problems=live.problems)
                return
            at = live.observed_at
            conclusion, events = self._estate.conclude(group, at)
            self._events(events)
            count = 0
            while conclusion.followups and count < MOST_FOLLOWUPS and not self.stopped:
                for follow in conclusion.followups:
                    count += 1
                    live = await self._round(
                        orders.narrowed(spec, follow, round_name()), spec.round, follow, asyncio.Event()
                    )
                    group.append(round_data(live.spec, live.armed, live.reports))
                    if not live.has_source():
                        return
                conclusion, events = self._estate.conclude(group, at)
                self._events(events)
        finally:
            sent.set()

    async def _round(
        self, spec: RoundSpec, main: str, follow: FollowUp | None, sent: asyncio.Event, patience_s: float | None = None
    ) -> Live:
        estate = self._estate
        live = Live(spec, secrets.token_bytes(16))
        async with AsyncExitStack() as stack:
            stack.callback(sent.set)
            async with asyncio.timeout(patience_s):
                await stack.enter_async_context(self._sources.setdefault(spec.source, asyncio.Lock()))
                await stack.enter_async_context(self._destinations.setdefault(spec.destination, asyncio.Lock()))
            self._live[spec.round] = live
            if spec.kind is not RoundKind.TRACE:  # no report of which, early or late, is evidence of a cell
                estate.store.start_round(spec, main, estate.clock())
            self._echo.know(spec.round, live.key)
            asked = orders.arms(estate.topology, spec, live.key, estate.agents, follow)
            started = time.monotonic()
            for agent, arm in asked.items():
                await self._post(agent, arm)
            await self._until(live, ARM_S, lambda: all(agent in live.armed for agent in asked))
            estate.store.set_armed(spec.round, live.armed)
            armed_ms = round((time.monotonic() - started) * 1000)
            networks = estate.topology.environments[spec.source_environment].networks
            order = orders.go(spec, live.key, networks, self._controls_of(spec, follow), follow)
            await self._post(spec.source, order)
            own = estate.agents[spec.source]
            deadline_s = orders.deadline_s(spec.targets, own.rate_pps, own.flows or estate.topology.probing.flows)
            await self._until(live, deadline_s, lambda: live.done is not None, watch=spec.source)
        if live.done is not None:
            await self._sleep(max(LEAST_TAIL_S, live.done.tail_s))
        for agent in asked:
            await self._post(agent, Close(round=spec.round))
        waited = [agent for agent in asked if agent in live.armed]
        await self._until(
            live,
            REPORT_S,
            lambda: (
                (live.done is None or live.has_source())
                and all(live.reported(agent, asked[agent]) or not estate.agents[agent].online for agent in waited)
            ),
        )
        self._echo.forget(spec.round)
        del self._live[spec.round]
        self.durations.observe(spec.source, time.monotonic() - started)
        log.info(
            "round", round=spec.round, kind=spec.kind.value, source=spec.source, to=spec.destination, armed_ms=armed_ms,
            seconds=round(time.monotonic() - started, 2), problems=live.problems[:5],
        )  # fmt: skip
        return live

    def _controls_of(self, spec: RoundSpec, follow: FollowUp | None) -> tuple[ControlTarget, ...]:
        """The coordinator, what a declared path of the pair lets through, and what has just answered on it."""
        if spec.kind is RoundKind.TRACE:
            return ()
        estate = self._estate
        declared = orders.declared_controls(estate.topology, estate.plan, spec, estate.now())
        answered: tuple[ControlTarget, ...] = ()
        if follow is not None or spec.schedule == "sweep":
            answered = orders.answered_controls(estate.plan, estate.matrix, spec, estate.clock() - LATELY_S)
        return (*self._controls().targets(), *declared, *answered)

    async def _until(self, live: Live, within_s: float, ready: Callable[[], bool], watch: str = "") -> None:
        """Wait for something of a round; not for ever, and not for an agent that has gone for some seconds."""
        until = time.monotonic() + within_s
        gone_at = 0.0
        while not ready() and not self.stopped:
            now = time.monotonic()
            if watch and not self._estate.agents[watch].online:
                gone_at = gone_at or now
                if now - gone_at > GONE_S:
                    return
            else:
                gone_at = 0.0
            if now >= until:
                return
            live.changed.clear()
            try:
                async with asyncio.timeout(min(0.5, until - now)):
                    await live.changed.wait()
            except TimeoutError:
                continue


def round_name() -> str:
    """A round's id: time in milliseconds, then chance; sorts by time."""
    return f"{int(time.time() * 1000):011X}{secrets.token_hex(4).upper()}"
