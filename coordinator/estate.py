"""What the coordinator holds at any moment: topology, roster, lookups, plan, matrix, findings. Memory in front of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from coordinator.store import Report, Store
from coordinator.views import AgentState
from reachability.compare import Cell, compare, key_of
from reachability.evidence import Conclusion, conclude
from reachability.finding import Event, FindingBook
from reachability.matrix import CellKey, Judged, Matrix
from reachability.observation import Lookup, RoundData, RoundSpec, SourceReport, WitnessReport
from reachability.plan import PlanTarget, build_plan
from reachability.topology import Topology, is_address
from reachability.verdict import judge
from wire.messages import Status
from wire.topics import UpTopic


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a message of an agent: `problem` says why it was not taken."""

    changed: bool = False
    problem: str = ""


class Estate:
    """The state of the estate, and the only writer of its store."""

    def __init__(self, topology: Topology, store: Store, clock: Callable[[], float]) -> None:
        """`clock` gives epoch seconds."""
        self.topology = topology
        self.store = store
        self.clock = clock
        self.started = clock()
        self.matrix = Matrix()
        for key, ports, judged in store.cells():
            self.matrix.update(key, ports, judged)
        self.book = FindingBook(store.findings())
        self.agents: dict[str, AgentState] = {}
        self._lookups: dict[str, dict[str, Lookup]] = store.lookups()
        self._addresses: dict[str, tuple[str, ...]] = store.get("addresses", dict[str, tuple[str, ...]], {})
        self.plan: tuple[PlanTarget, ...] = ()
        self.take_topology(topology)

    # -- what is declared -----------------------------------------------------------------------------------------

    def take_topology(self, topology: Topology) -> None:
        """A new topology is in force: it judges what was observed before, too."""
        self.topology = topology
        self.agents = {
            name: self.agents.get(name) or AgentState(name=name, environment=environment)
            for name, environment in topology.agents().items()
        }
        self._plan()

    def _plan(self) -> None:
        lookups = {
            agent: {name: lookup.addresses for name, lookup in found.items()} for agent, found in self._lookups.items()
        }
        self.plan = build_plan(self.topology, self._addresses, lookups)

    # -- who is there ---------------------------------------------------------------------------------------------

    def take_status(self, topic: UpTopic, status: Status, *, retained: bool) -> Heard:
        """An agent says who it is and what it can do; refused when topic, words and topology do not agree."""
        declared = self.topology.agents().get(topic.agent)
        if declared is None:
            return Heard(problem=f"agent '{topic.agent}' is not in {self.topology.file}")
        if (status.name, status.environment) != (topic.agent, topic.environment) or declared != topic.environment:
            return Heard(
                problem=f"'{topic.agent}' of '{topic.environment}' says to be '{status.name}' of '{status.environment}'"
            )
        known = self.agents[topic.agent]
        now = self.clock()
        self.agents[topic.agent] = replace(
            known,
            online=status.online,
            addresses=status.addresses or known.addresses,
            version=status.version or known.version,
            raw=status.raw,
            lacks=status.lacks,
            rate_pps=status.rate_pps,
            flows=status.flows,
            spooled=status.spooled,
            refused=status.refused,
            traces=status.traces,
            last_seen=known.last_seen if retained and known.last_seen else now,
        )
        if status.online and status.addresses and self._addresses.get(status.name) != status.addresses:
            self._addresses[status.name] = status.addresses
            self.store.put("addresses", self._addresses)
            self._plan()
        return Heard(changed=known.online != status.online)

    def names_for(self, agent: str) -> tuple[str, ...]:
        """DNS names of other environments that the agent has to look up."""
        own = self.agents[agent].environment
        return tuple(
            dict.fromkeys(
                host
                for environment in self.topology.environments.values()
                if environment.name != own
                for service in environment.services.values()
                for host in service.hosts
                if not is_address(host)
            )
        )

    def take_lookups(self, agent: str, lookups: Sequence[Lookup]) -> None:
        """What names resolved to at an agent."""
        known = self._lookups.setdefault(agent, {})
        if any(known.get(lookup.name) != lookup for lookup in lookups):
            known.update({lookup.name: lookup for lookup in lookups})
            self.store.put_lookups(agent, lookups)
            self._plan()

    def lookups(self, agent: str) -> Mapping[str, Lookup]:
        """The newest lookups of an agent."""
        return self._lookups.get(agent, {})

    # -- what was observed ----------------------------------------------------------------------------------------

    def conclude(self, rounds: Sequence[RoundData], at: float) -> tuple[Conclusion, tuple[Event, ...]]:
        """Take what a round and its follow-ups show into the matrix, the store and the findings.

        `at` is when it was observed, epoch seconds by this clock.
        """
        conclusion = conclude(rounds)
        spec = rounds[0].spec
        touched: dict[CellKey, None] = {}
        for key, ports, evidence in conclusion.cells:
            judged = Judged(
                evidence=evidence,
                verdict=judge(evidence),
                round=spec.round,
                run=spec.run,
                schedule=spec.schedule,
                observed_at=at,
            )
            self.matrix.update(key, ports, judged)
            touched[key] = None
        self.store.put_cells((key, self.matrix.rows(key)) for key in touched)
        if spec.source in self.agents:
            self.agents[spec.source] = replace(self.agents[spec.source], last_round=self.clock())
        return conclusion, self.review()

    def conclude_again(self, round_id: str) -> tuple[Event, ...]:
        """A report came in after its round was concluded: conclude it again with what is held now."""
        held = self.store.group_of(round_id)
        if not held:
            return ()
        times = [received for _, _, reports in held for report, received in reports if _is_source(report)]
        if not times:
            return ()
        return self.conclude(
            [round_data(spec, armed, [r for r, _ in reports]) for spec, armed, reports in held], times[0]
        )[1]

    def sweep_overdue(self, agent: str, period_s: float) -> bool:
        """Whether something that was swept once was not for longer than the period: a restart cut the last sweep off."""
        since = self.clock() - period_s
        return any(
            judged.schedule == "sweep" and judged.observed_at < since
            for target in self.plan
            if target.agent == agent
            for _, judged in self.matrix.rows(key_of(target))
        )

    def review(self) -> tuple[Event, ...]:
        """Bring the findings up to date with the cells of now."""
        now = self.now()
        before = self.book.findings
        events = self.book.apply(self.cells(), now, self.topology.probing.confirm)
        if events or self.book.findings != before:
            self.store.put_findings(self.book.findings, events)
        return events

    def acknowledge(self, finding: str, by: str, reason: str) -> Event:
        """A person takes a finding on; KeyError and ValueError as the book says."""
        event = self.book.acknowledge(finding, by, reason, self.now())
        self.store.put_findings(self.book.findings, (event,))
        return event

    def standing(self) -> set[str]:
        """The main rounds that a cell of now, or a finding, stands on."""
        return self.matrix.rounds.union(*(finding.shown for finding in self.book.findings))

    # -- what is shown --------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The clock as an aware time."""
        return datetime.fromtimestamp(self.clock(), UTC)

    def cells(self, plan: Iterable[PlanTarget] | None = None, run: str | None = None) -> tuple[Cell, ...]:
        """Declared against observed, of the whole plan or a part of it."""
        return compare(self.topology, self.plan if plan is None else plan, self.matrix, self.now(), run=run)


def round_data(spec: RoundSpec, armed: Mapping[str, bool], reports: Iterable[Report]) -> RoundData:
    """A round with its reports, each in its place; of two from one source the later counts."""
    source: SourceReport | None = None
    insides: dict[str, SourceReport] = {}
    witnesses: list[WitnessReport] = []
    for report in reports:
        if isinstance(report, WitnessReport):
            if not report.late:
                witnesses = [w for w in witnesses if w.agent != report.agent or w.late]
            witnesses.append(report)
        elif report.role == "inside":
            insides[report.agent] = report
        elif report.agent == spec.source:
            source = report
    return RoundData(spec=spec, source=source, witnesses=tuple(witnesses), insides=tuple(insides.values()), armed=armed)


def _is_source(report: Report) -> bool:
    return isinstance(report, SourceReport) and report.role == "source"
