"""The round engine: arm, go, done, close, conclude; many rounds at a time, one endpoint in one round at a time.

A participant that is missing or dies ends the round for its own cells only: every wait has an end, by the loop's clock.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import replace

import structlog
from structlog.contextvars import bind_contextvars

from coordinator.rounds import deadlines, requests, source_controls
from coordinator.rounds.beside import Beside
from coordinator.rounds.brake import Brake
from coordinator.rounds.control_echo import Echo
from coordinator.rounds.durations import Durations
from coordinator.rounds.in_flight import Live, Post, round_name, stalled, stands
from coordinator.rounds.resolving import Resolving
from coordinator.state.estate import Estate
from coordinator.state.judging import Judging
from coordinator.state.reports import has_part
from coordinator.store import Part, Report
from reachability.followups import MOST_FOLLOWUPS, FollowUp
from reachability.layout import layout_of
from reachability.life import Event
from reachability.round_data import RoundSpec
from reachability.vocabulary import RoundKind, Schedule
from wire.messages import Arm, Armed, Close, Done, Go, Resolved
from wire.process.progress import PART_S

ARM_S, REPORT_S, BUSY_S = 5.0, 10.0, 10.0
COLD_S = 15.0  # longer, once, for an agent whose packet child has to start where there is little to start it with: decision 029
LEAST_TAIL_S, MOST_TAIL_S = 0.2, 30.0

log = structlog.get_logger("rounds")


class Engine:
    """Runs rounds. `events` gets what they did to the findings."""

    def __init__(
        self,
        estate: Estate,
        post: Post,
        echo: Echo,
        controls: Callable[[], requests.Controls],
        *,
        events: Callable[[tuple[Event, ...]], None] = lambda _: None,
    ) -> None:
        self._estate = estate
        self._post = post
        self._echo = echo
        self._controls = controls
        self._live: dict[str, Live] = {}
        self._followed: dict[str, Live] = {}  # over, but judged once more with what its follow-ups show
        self.judging = Judging(estate, events)
        self._beside = Beside(estate)
        self.resolving = Resolving(estate, post)
        self._sources: dict[str, asyncio.Lock] = {}
        self._destinations: dict[str, asyncio.Lock] = {}
        self._unready: set[str] = set()  # who was not ready in time; not waited for again until it is
        self.durations = Durations()
        self.exclusive = ""  # the verify run that has everything to itself
        self.brake = Brake(estate, post, lambda run: {r.spec.source for r in self._live.values() if r.spec.run != run})

    @property
    def stopped(self) -> str:
        """Why nothing is probed now; "" when it is."""
        return self.brake.stopped

    def stalled(self) -> str:
        """What should have come by long ago, in words; "" when all goes on."""
        return stalled(self._live, self.judging.stalled_s(), PART_S)

    # -- what comes in --------------------------------------------------------------------------------------------

    def report(self, report: Report) -> None:
        """A report is in the store; wake the round that waits for it, or have an old one judged again."""
        live = self._live.get(report.round) or self._followed.get(report.round)
        if live is not None and not has_part(live.spec, report.agent):
            log.warning("a report is refused: its agent has no part in it", agent=report.agent, round=report.round)
            return
        if live is not None:
            live.reports.append(report)
            live.changed.set()
        if report.round not in self._live:
            self.judging.again(report.round)

    def answer(self, agent: str, message: Armed | Done | Resolved) -> None:
        """What an agent says of a round."""
        if isinstance(message, Resolved):
            self.resolving.answer(agent, message)
            return
        live = self._live.get(message.round)
        if live is not None and has_part(live.spec, agent):
            live.heard(agent, message)

    # -- what is done ---------------------------------------------------------------------------------------------

    async def cycle(
        self,
        agent: str,
        destinations: tuple[str, ...],
        schedule: Schedule,
        run: str = "",
        step: Callable[[int], None] = lambda _: None,
    ) -> None:
        """All rounds of a source to these environments, one after the other; tails and follow-ups overlap the next.

        `step` is told how many cells were sent to, round by round.
        """
        if not run and not self.brake.holds(run):  # which has asked all agents before
            await self.resolving.ask(agent)
        async with asyncio.TaskGroup() as tails:
            for destination in destinations:
                if not self._estate.online(agent):
                    return
                plan = tuple(target for target in self._estate.plan if target.agent == agent)
                if schedule is Schedule.SWEEP:  # one that was cut off goes on where it stopped
                    plan = tuple(requests.by_need(plan, self._estate.matrix))
                there = self._estate.present()
                parts = requests.targets_of(self._estate.topology, plan, agent, destination, schedule, there)
                for targets in parts:
                    # A scheduled round that came after a verify's would take its cells away from that run.
                    if self.brake.holds(run) or self.exclusive not in {"", run} or not self._estate.online(agent):
                        return
                    here = self._estate.agents[agent].environment
                    spec = RoundSpec(
                        round=round_name(), kind=RoundKind.NORMAL, schedule=schedule, run=run,
                        source=agent,
                        source_environment=here,
                        destination=destination,
                        targets=targets,
                        beside=self._beside.targets(agent, plan, targets),
                        spread_s=self._estate.topology.probing.spread_s,
                        layout=layout_of(self._estate.topology, here, destination, self._estate.moves.last),
                    )  # fmt: skip
                    sent = asyncio.Event()
                    tails.create_task(self._round_and_after(spec, sent), name=f"round {spec.round}")
                    await sent.wait()
                    step(deadlines.cells_of(targets))

    async def trace(self, spec: RoundSpec) -> Live:
        """A round of kind trace, which concludes nothing; TimeoutError when others have its source or destination too long."""
        return await self._round(spec, "", None, asyncio.Event(), BUSY_S)

    async def stop(self, reason: str, by: str = "") -> None:
        """End all probing everywhere, until `resume`, across restarts too. Rounds under way see it within half a second."""
        await self.brake.stop(reason, by)

    async def resume(self, by: str = "") -> None:
        """Probe again."""
        await self.brake.resume(by)

    async def _round_and_after(self, spec: RoundSpec, sent: asyncio.Event) -> None:
        """A round with its follow-ups; `sent` is set when the main round's packets are out."""
        group: list[Live] = []
        steady = asyncio.get_running_loop().time
        try:
            live = await self._round(spec, spec.round, None, sent)
            spec = live.spec
            self._follow(group, live)
            if not live.has_source() or self.brake.holds(spec.run):
                log.warning("round without a report", round=spec.round, source=spec.source, problems=live.problems)
                return
            self._beside.heard(live.data().source)
            main, count = live, 0
            conclusion = await self.judging.conclude([live.data()], pending=True)
            while conclusion.followups and count < MOST_FOLLOWUPS:
                for follow in conclusion.followups:
                    count += 1
                    await self._until(main, main.done_at + follow.wait_s - steady(), lambda: False, watch=spec.source)
                    if self.brake.holds(spec.run):
                        return
                    narrowed = requests.narrowed(spec, follow, round_name())
                    live = await self._round(narrowed, spec.round, follow, asyncio.Event())
                    self._follow(group, live)
                    if not live.has_source():  # what was only to be tried again stays unproven
                        count = MOST_FOLLOWUPS
                        break
                bind_contextvars(round=spec.round)
                data = [each.data() for each in group]
                conclusion = await self.judging.conclude(data, pending=count < MOST_FOLLOWUPS)
        finally:
            sent.set()
            for each in group:
                self._followed.pop(each.spec.round, None)

    def _follow(self, group: list[Live], live: Live) -> None:
        group.append(live)
        self._followed[live.spec.round] = live

    async def _round(
        self, spec: RoundSpec, main: str, follow: FollowUp | None, sent: asyncio.Event, patience_s: float | None = None
    ) -> Live:
        estate, steady = self._estate, asyncio.get_running_loop().time
        bind_contextvars(round=spec.round)  # what is logged on the way belongs to it
        async with AsyncExitStack() as stack:
            stack.callback(sent.set)
            async with asyncio.timeout(patience_s):
                for turn in requests.turns(spec, follow):
                    await stack.enter_async_context(self._sources.setdefault(turn, asyncio.Lock()))
                await stack.enter_async_context(self._destinations.setdefault(spec.destination, asyncio.Lock()))
            spec = requests.still_planned(spec, estate.plan)  # after what may have been a long wait
            if self.brake.holds(spec.run) or not spec.targets:
                return Live(spec, b"")
            started = steady()
            live, asked = await self._arm(spec, main, follow)
            if spec.kind in {RoundKind.NORMAL, RoundKind.TRACE}:
                if cold := self._missing(live, asked) - self._unready:
                    await self._until(live, COLD_S, lambda: not cold & self._missing(live, asked))
                    await self._close(live, asked)
                    self._forget(live)
                    spec = replace(spec, round=round_name())
                    bind_contextvars(round=spec.round)
                    live, asked = await self._arm(spec, main if follow else spec.round, follow)
                self._unready |= self._missing(live, asked)
            self._unready -= live.parts.keys()
            live.has_gone = True
            armed_ms = round((steady() - started) * 1000)
            if stands(spec, estate.topology, estate.moves.last) and not self.brake.holds(spec.run):
                await self._send_off(live, follow)
        if live.done is not None:
            await asyncio.sleep(min(max(LEAST_TAIL_S, live.done.tail_s), MOST_TAIL_S))
        # Where it was not heard to be done it may go, or go on, after its witnesses have stopped listening.
        live.settle(agent for agent in estate.holders.two() if has_part(spec, agent))
        await estate.saved(lambda: estate.store.set_parts(spec.round, dict(live.parts)))
        await self._close(live, asked)
        await self._until(live, REPORT_S, lambda: live.has_all(asked, estate.online))
        self._forget(live)
        self.durations.observe(spec.source, steady() - started)
        log.info(
            "round", round=spec.round, kind=spec.kind.value, source=spec.source, to=spec.destination, armed_ms=armed_ms,
            seconds=round(steady() - started, 2), problems=live.problems[:5],
        )  # fmt: skip
        return live

    async def _arm(self, spec: RoundSpec, main: str, follow: FollowUp | None) -> tuple[Live, dict[str, Arm]]:
        """The round with all who are ready within five seconds, and who was asked for what."""
        estate, live = self._estate, Live(spec, secrets.token_bytes(16))
        if spec.kind is not RoundKind.TRACE:  # no report of which, early or late, is evidence of a cell
            await estate.begin(spec, main)
        self._live[spec.round] = live
        self._echo.know(spec.round, live.key)
        asked = {}
        if stands(spec, estate.topology, estate.moves.last):
            asked = requests.arms(estate.topology, spec, live.key, estate.present(), follow)
        for agent, arm in asked.items():
            if not self.brake.holds(spec.run):  # what leaves now leaves before the stop: a channel keeps its order
                await self._post(agent, arm)
        await self._until(live, ARM_S, lambda: all(agent in live.parts for agent in asked))
        return live, asked

    def _missing(self, live: Live, asked: Collection[str]) -> set[str]:
        """Who is connected and not ready."""
        return {agent for agent in asked if agent not in live.parts and self._estate.online(agent)}

    async def _close(self, live: Live, asked: Collection[str]) -> None:
        done = live.done is not None and not self.brake.holds(live.spec.run)  # what is asked again sends, too
        for agent in asked:
            await self._post(agent, Close(round=live.spec.round, again=done and agent in live.parts))

    def _forget(self, live: Live) -> None:
        self._echo.forget(live.spec.round)
        del self._live[live.spec.round]

    async def _send_off(self, live: Live, follow: FollowUp | None) -> None:
        """The source goes, and says when it is done."""
        spec, topology = live.spec, self._estate.topology
        networks = topology.environments[spec.source_environment].networks
        found = source_controls.of_the_round(self._estate, spec, again=follow is not None)
        found = found if spec.kind is RoundKind.TRACE else (*self._controls().targets(), *found)
        order = requests.go(spec, live.key, networks, found, follow)
        patience_s = deadlines.patience_s(order, self._estate.agents[spec.source], topology.probing)
        live.parts[spec.source] = Part(instance=self._estate.agents[spec.source].instance)
        await self._go(live, order, asyncio.get_running_loop().time() + patience_s)

    async def _go(self, live: Live, order: Go, until: float, times: int = 3) -> None:
        """Tell the source, again where the connection that it was told on has ended: one that has heard it knows it by name."""
        told = self._estate.agents[live.spec.source]

        def lost() -> bool:
            return times > 1 and not self.brake.holds(live.spec.run) and self._estate.came_back(told)

        await self._post(told.name, order)
        left_s = until - asyncio.get_running_loop().time()
        await self._until(live, left_s, lambda: live.done is not None or lost(), watch=told.name)
        if live.done is None and lost():
            log.info("the source is told again: it has lost its connection", round=order.round, source=told.name)
            await self._go(live, order, until, times - 1)

    async def _until(self, live: Live, within_s: float, ready: Callable[[], bool], watch: str = "") -> None:
        """Wait for something of a round; not for ever, and not for an agent that has gone for some seconds."""
        away = lambda: bool(watch) and not self._estate.online(watch)  # noqa: E731 - a line
        await live.until(within_s, ready, stopped=lambda: bool(self.brake.holds(live.spec.run)), away=away)
