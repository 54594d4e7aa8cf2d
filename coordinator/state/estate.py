"""What the coordinator holds at any moment: topology, roster, lookups, plan, matrix, findings. Memory in front of the store."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from coordinator.clock import since_boot
from coordinator.state import forgetting
from coordinator.state.concluding import JudgedRow, held_matrix
from coordinator.state.holders import Holders, unproven
from coordinator.state.kept import Kept
from coordinator.state.lookups import Lookups, names_of, needed_by, oldest_fresh
from coordinator.state.moves import Moves
from coordinator.state.planning import Known, Plan, plan_of
from coordinator.state.reviewing import MOST_TRIES, Moment, lay, reviewed
from coordinator.state.roster import AgentState, Heard, Used, is_old_news, refusal, said, shifted, unheard
from coordinator.store import Gap, Losses, Store, StoreError
from coordinator.store.spools import added
from reachability.compare import Cell, compare
from reachability.finding import Event, EventKind
from reachability.observation import Lookup
from reachability.plan import PlanTarget
from reachability.round_data import RoundSpec
from reachability.topology import Topology
from wire.messages import Status
from wire.topics import UpTopic

log = structlog.get_logger("estate")


class Estate(Kept):
    """The state of the estate, and the only writer of its store."""

    def __init__(
        self, topology: Topology, store: Store, clock: Callable[[], float], steady: Callable[[], float] = since_boot,
        plan: Plan | None = None,
    ) -> None:  # fmt: skip
        """`clock` gives epoch seconds, `steady` seconds that never jump; `plan`, where it is made later, stands until then."""
        super().__init__(store)
        self.topology = topology
        self.clock, self.started = clock, clock()
        self.matrix = held_matrix(store, self.started)
        self.agents: dict[str, AgentState] = {}
        self.losses: dict[str, Losses] = dict(store.losses())
        self._reviewing = asyncio.Lock()
        self._changes = 0  # of matrix, findings and clock, besides those by a review
        self._generations: dict[str, int] = store.get("generations", dict[str, int], {})
        self._used: dict[str, Used] = store.get("certificates", dict[str, Used], {})
        self._lookups = Lookups(store, self.started)
        self.holders = Holders(steady, store.get("two_holders", list[str], []))
        self.moves = Moves(store)
        self._addresses: dict[str, tuple[str, ...]] = store.get("addresses", dict[str, tuple[str, ...]], {})
        self.save(lambda: store.undate_rounds(self.started))
        self.take_topology(topology, plan)

    def clock_stepped(self, seconds: float) -> None:
        """The clock was set by this much: ages stay what they are. What is stored follows as it is concluded anew."""
        self.started += seconds
        self.matrix.shift(seconds)
        self._changes += 1
        self._lookups.shift(seconds)
        self.store.clock_stepped(seconds)  # or a report that was held back would look younger
        self.save(self.store.shift_rounds)
        self.agents = {name: shifted(agent, seconds) for name, agent in self.agents.items()}

    # -- what is declared -----------------------------------------------------------------------------------------

    def take_topology(self, topology: Topology, plan: Plan | None = None) -> None:
        """A new topology is in force, with its plan: it judges what was observed before, too."""
        self.topology = topology
        self.agents = {
            name: known
            if (known := self.agents.get(name)) and known.environment == environment
            else unheard(name, environment, self._used.get(name, Used()), self._generations.get(name, 0))
            for name, environment in topology.agents().items()
        }
        self.moves.take(topology)
        self.save(self.moves.write)
        self.plan = plan_of(topology, self.known(topology)) if plan is None else plan

    def known(self, topology: Topology) -> Known:
        """What agents and resolvers have said of addresses until now, and who moves by that topology."""
        return Known(dict(self._addresses), self._lookups.leads_to(), self.moves.after(topology))

    # -- whose certificates are in force --------------------------------------------------------------------------

    @property
    def generations(self) -> Mapping[str, int]:
        """Of the agents' certificates that are in force; 0 of an agent that is not in here."""
        return self._generations

    def revoke(self, generations: Mapping[str, int]) -> tuple[Event, ...]:
        """Take in revocations; what is new about them."""
        new = [name for name, generation in generations.items() if self._generations.get(name, 0) < generation]
        self._generations = dict(generations)
        for name in new:
            self.holders.forget(name)
            if name in self.agents:
                self.agents[name] = replace(self.agents[name], revoked=True, online=False)
        if new:
            self.save(lambda: self.store.put("generations", self._generations))
        text = "every certificate that it had is refused; a new bundle lets it in again"
        return tuple(self.note(EventKind.REVOKED, text, agent=name) for name in new)

    def renewed(self, agent: str, until: datetime) -> tuple[Event, ...]:
        """An agent got a new certificate over its own channel."""
        return (self.note(EventKind.RENEWED, f"it got a certificate until {until:%Y-%m-%d %H:%M} UTC", agent=agent),)

    # -- who is there ---------------------------------------------------------------------------------------------

    def take_status(self, topic: UpTopic, status: Status, *, retained: bool) -> Heard:
        """An agent says who it is and what it can do; refused when topic, words and topology do not agree."""
        if problem := refusal(topic, status, self.topology, self._generations):
            return Heard(problem=problem)
        if not retained:
            self._count_holders(topic.agent, status)
        known = self.agents[topic.agent]
        if is_old_news(status, known):
            return Heard()
        now = self.clock()
        self.agents[topic.agent] = said(
            known, status, now, retained=retained, two_holders=topic.agent in self.holders.two()
        )
        self._remember(topic.agent, status)
        if status.online and status.addresses and self._addresses.get(status.name) != status.addresses:
            self._addresses[status.name] = status.addresses
            self.save(lambda: self.store.put("addresses", self._addresses))
            self.plan = plan_of(self.topology, self.known(self.topology))
        return Heard(changed=known.online != status.online or (status.online and known.instance != status.instance))

    def _count_holders(self, agent: str, status: Status) -> None:
        """Where a second process turns out to live under the name, what stands of its cells is proven no more."""
        if self.holders.heard(agent, status):
            log.error("two processes live under the name of one agent: nothing of it is proven", name=agent)
            self._take(unproven(self.matrix, self.plan, agent))
            self.save(self._write)  # or a restart before the next review would prove it again
        if (two := self.holders.two()) != self.holders.stored:
            self.holders.stored = two
            self.save(lambda: self.store.put("two_holders", sorted(self.holders.stored)))

    def online(self, agent: str) -> bool:
        """Whether it is in the topology, connected, and known to be one, or two."""
        state = self.agents.get(agent)
        return state is not None and state.online and self.holders.is_settled(agent)

    def came_back(self, since: AgentState) -> bool:
        """Whether an agent has another connection than then, and is the same process: what was on its way to it is lost."""
        now = self.agents.get(since.name)
        return now is not None and now.instance == since.instance and now.connections > since.connections > 0

    def present(self) -> Mapping[str, AgentState]:
        """The agents as rounds may ask them: `online` as above."""
        return {name: replace(state, online=self.online(name)) for name, state in self.agents.items()}

    def cannot_take(self, agent: str, why: str) -> bool:
        """What an agent sends cannot be read at all, until it can; whether that is new."""
        known = self.agents[agent]
        self.agents[agent] = replace(known, problem=why, last_seen=self.clock())
        return known.problem != why

    def _remember(self, agent: str, status: Status) -> None:
        """So that the end of a certificate is shown for an agent that is away, too."""
        used = Used(starts=status.certificate_from, ends=status.certificate_until, generation=max(status.generation, 0))
        if status.certificate_until and self._used.get(agent) != used:
            self._used[agent] = used
            self.save(lambda: self.store.put("certificates", self._used))

    def take_lookups(self, agent: str, lookups: Sequence[Lookup]) -> None:
        """What names resolved to at an agent; of names that it was not asked for, nothing."""
        now = self.clock()
        if self._lookups.take(agent, names_of(self.topology), lookups, now):
            # What is needed of the old depends on whether the new was tried.
            self.plan = plan_of(self.topology, self.known(self.topology))
        if self._lookups.settle(oldest_fresh(self.topology, now), needed_by(self.plan, self.matrix, self.book)):
            self.plan = plan_of(self.topology, self.known(self.topology))
        self.save(self._lookups.write)
        for name, words in self._lookups.apart(self.agents).items():
            self.agents[name] = replace(self.agents[name], names_apart=words)

    def lookups(self, agent: str) -> Mapping[str, Lookup]:
        """The newest lookups of an agent."""
        return self._lookups.of(agent)

    async def begin(self, spec: RoundSpec, main: str) -> None:
        """Remember what is asked, before it is; StoreError where that cannot be."""
        at, before = self.clock(), self.started  # which moves with the clock, should that be set meanwhile
        await self.store.beside(lambda: self.store.start_round(spec, main, at + (self.started - before)))

    # -- what was observed ----------------------------------------------------------------------------------------

    async def take_judged(
        self, spec: RoundSpec, rows: Sequence[JudgedRow], stands: Callable[[], bool] = lambda: True
    ) -> tuple[Event, ...] | None:
        """Take what a main round and its follow-ups show into matrix, store and findings; None where it `stands` no more.

        It is dated by when the round began: what it shows is no older. A report may have been under way for any time, in a
        broker or before a coordinator that stood still, and its age does not say so.
        """
        async with self._reviewing:
            return await self._review(spec, rows, stands)

    async def review(self) -> tuple[Event, ...]:
        """Bring the findings up to date with the current cells."""
        async with self._reviewing:
            return await self._review() or ()

    async def _review(
        self, spec: RoundSpec | None = None, rows: Sequence[JudgedRow] = (), stands: Callable[[], bool] = lambda: True
    ) -> tuple[Event, ...] | None:
        """Work it out in a thread. Whoever asks meanwhile sees what was before, and then all of it at once."""
        for tries in range(MOST_TRIES + 1):
            # The clock may have been set back since it began.
            at = min(self.store.began(spec.round), self.clock()) if spec else 0.0
            asked = (moment := self._moment(), rows, at)
            # One who never ceases to change something puts off nothing for ever.
            done = await asyncio.to_thread(reviewed, *asked) if tries < MOST_TRIES else reviewed(*asked)
            if not stands():
                return None
            if (moment.topology, moment.changes) == (self.topology, self._changes) and moment.plan is self.plan:
                break  # else once more, by what holds now
        self.matrix, self.book = done.matrix, done.book
        self._unsaved.update(dict.fromkeys(done.keys))
        self._untold += done.events
        if spec and spec.source in self.agents:
            self.agents[spec.source] = replace(self.agents[spec.source], last_round=self.clock())
        await self._written()
        return done.events

    def _moment(self) -> Moment:
        now = self.now()  # first: it may turn out that the clock was set
        return Moment(self.topology, self.plan, self.matrix.copy(), self.book.copy(), now, self._changes)

    def _take(self, rows: Iterable[JudgedRow]) -> None:
        self._changes += 1
        self._unsaved.update(dict.fromkeys(lay(self.matrix, rows)))

    async def acknowledge(self, finding: str, by: str, reason: str) -> Event:
        """A person takes a finding on; KeyError and ValueError as the book says, StoreError when it is not on disk yet."""
        event = self.book.acknowledge(finding, by, reason, self.now())
        self._changes += 1
        self._untold.append(event)
        await self._written()
        if self.problem:
            raise StoreError(self.problem)
        return event

    def note(self, what: EventKind, text: str, by: str = "", agent: str = "") -> Event:
        """Put something into the history that belongs to no finding."""
        event = Event(at=self.clock(), finding="", what=what, text=text, by=by, agent=agent)
        self._untold.append(event)
        self.save(self._write)
        return event

    async def noted(self, what: EventKind, text: str, by: str = "") -> None:
        """The same, written in a thread."""
        self._untold.append(Event(at=self.clock(), finding="", what=what, text=text, by=by))
        await self._written()

    # -- what is kept ---------------------------------------------------------------------------------------------

    def take_gaps(self, agent: str, gaps: Iterable[Gap]) -> None:
        """More of an agent's batches turn out to be lost."""
        for gap in gaps:
            self.losses[agent] = added(self.losses.get(agent, Losses()), gap)

    async def forget(self) -> None:
        """Let go of what is old, in memory and in the store, by the rule of `coordinator.store.retention`."""
        async with self._reviewing:
            await self._written()
            self._unsaved.update(dict.fromkeys(forgetting.cells(self.store, self.matrix, self.plan, self._unsaved)))
            if self.book.findings == self._book_saved:
                forgetting.findings(self.store, self.book)
            await self._written()
            standing = self.standing()
            await self.saved(lambda: self.store.forget(standing))
        self._lookups.forget(self.topology)
        self.save(self._lookups.write)
        self.save(self.moves.write)
        if gone := self._addresses.keys() - self.topology.agents().keys():
            self._addresses = {name: found for name, found in self._addresses.items() if name not in gone}
            self.save(lambda: self.store.put("addresses", self._addresses))

    # -- what is shown --------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The clock as an aware time."""
        return datetime.fromtimestamp(self.clock(), UTC)

    def cells(
        self, plan: Iterable[PlanTarget] | None = None, run: str | None = None, since: float = math.inf
    ) -> tuple[Cell, ...]:
        """Declared against observed, of the whole plan or a part of it; `run` and `since` as `compare` has them."""
        planned = self.plan if plan is None else plan
        return compare(self.topology, planned, self.matrix, self.now(), run=run, since=since)
