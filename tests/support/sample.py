"""An estate with one leak, as values: what tests of the comparison, the bodies and the commands stand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from coordinator.api import explain, verify
from coordinator.api.report import Snapshot, Span
from coordinator.api.responses import runs
from coordinator.api.responses.proof import Explanation
from coordinator.api.responses.status import Status
from coordinator.api.status import standing
from coordinator.packets.exchanges import Exchanges
from coordinator.state.roster import AgentState
from coordinator.state.situation import situation_of
from coordinator.store import Losses
from reachability.compare import Cell, compare, in_scope, key_of
from reachability.finding import Event, FindingBook
from reachability.matrix import Judged, Matrix
from reachability.plan import PlanTarget, build_plan
from reachability.ports import PortSet
from reachability.situation import Situation
from reachability.topology import (
    DeclaredAgent,
    Environment,
    Mark,
    Path,
    PortSpec,
    Probing,
    Selector,
    Service,
    Topology,
)
from reachability.verdict import Evidence, judge
from reachability.vocabulary import Arrival, Canary, Declared, Protocol, Reason, Require, Sensitivity, State
from tests.support.answers import status_of

NOW = datetime(2026, 11, 23, 12, 6, 7, tzinfo=UTC)
STARTED = NOW.timestamp() - 4.2
TCP = Protocol.TCP


def service(name: str, host: str, ports: str, kind: str = "", holds: tuple[str, ...] = ()) -> Service:
    return Service(name, (host,), PortSpec(tcp=PortSet.parse(ports)), kind, holds)


def environment(name: str, number: int, sensitivity: Sensitivity, *services: Service, **more: Any) -> Environment:
    return Environment(
        name=name,
        networks=(ip_network(f"10.{number}.0.0/24"),),
        agents={f"{name}-1": DeclaredAgent(f"{name}-1", (f"10.{number}.0.10",))},
        services={s.name: s for s in services},
        sensitivity=sensitivity,
        **more,
    )


def topology(**more: Any) -> Topology:
    environments = (
        environment("dev", 10, Sensitivity.LOW, service("notebook", "10.10.0.10", "8888", "jupyter")),
        environment("test", 15, Sensitivity.MEDIUM, service("runner", "10.15.0.10", "8265", "ray")),
        environment("staging", 20, Sensitivity.HIGH, service("web", "10.20.0.10", "443")),
        environment(
            "prod",
            30,
            Sensitivity.CRITICAL,
            service("model-registry", "10.30.0.21", "5000", "mlflow", ("models",)),
            service("feature-store", "10.30.0.10", "6379", "redis", ("features",)),
            require=Require.NO_SESSION,
        ),
    )
    promotes = Path(
        "ci-promotes-models",
        Selector("staging", environment="staging"),
        Selector("prod.model-registry", environment="prod", service="model-registry"),
        None,
        Declared.REQUIRED,
        "ml-platform",
        mark=Mark(41, 5, 46),
    )
    return replace(
        Topology({e.name: e for e in environments}, (promotes,), probing=Probing(confirm=1)), digest="9c1e" * 16, **more
    )


def evidence(target: PlanTarget, state: State, **more: Any) -> Evidence:
    """Silence that is proven, or an answer that is: by the witness where there is one, else by controls."""
    reasons = {State.OPEN: Reason.SYN_ACK, State.CLOSED: Reason.RESET, State.FILTERED: Reason.NO_RESPONSE}
    base = Evidence(
        protocol=target.protocol,
        state=state,
        reason=reasons[state],
        way="raw",
        via="eth0 10.0.0.1",
        sent=3,
        covered=3,
        flows=3,
        arrival=Arrival.NOT_SEEN if target.witness else Arrival.NO_WITNESS,
        no_witness_why="" if target.witness else "no agent on this host",
        inside=State.CLOSED if target.protocol is TCP else State.OPEN,
        inside_by=target.inside,
        canary=Canary.CLEAR,
        control=True,
        control_by="coordinator 10.0.0.1 answered",
        loss=0.001,
    )
    if state is State.OPEN:
        seen = Arrival.SEEN if target.witness else Arrival.NO_WITNESS
        base = replace(base, rtt_ms=0.402, hops=1, arrival=seen, inside=State.OPEN, inside_same=True, note="200 MLflow")
    return replace(base, **more)


def judged(
    e: Evidence, name: str = "01JDA", run: str = "run-1", at: float = NOW.timestamp() - 1, **more: Any
) -> Judged:
    return Judged(evidence=e, verdict=judge(e), round=name, run=run, observed_at=at, **more)


def observe(
    plan: tuple[PlanTarget, ...],
    *,
    leak: bool = True,
    undecided: bool = False,
    name: str = "01JDA",
    at: float | None = None,
) -> Matrix:
    """Everything that is denied is closed, the declared path open, dev reaches prod's model registry where it leaks."""
    matrix, when = Matrix(), NOW.timestamp() - 1 if at is None else at
    for target in plan:
        key, silent = key_of(target), evidence(target, State.FILTERED)
        if target.cycle:
            matrix.update(key, target.cycle, judged(silent, name, at=when))
        registry = target.address == "10.30.0.21" and target.protocol is TCP
        if registry and (target.source_environment == "staging" or (leak and target.source_environment == "dev")):
            matrix.update(key, PortSet.of([5000]), judged(evidence(target, State.OPEN), name, at=when))
        if undecided and target.source_environment == "test" and registry:
            lost = replace(silent, inside=State.FILTERED)
            matrix.update(key, PortSet.of([22, 53]), judged(lost, name, at=when))
    return matrix


AGENTS = tuple(
    AgentState(
        name=f"{name}-1",
        environment=name,
        online=name != "test",
        addresses=(f"10.{number}.0.10",),
        version="0.1.0",
        raw=True,
        rate_pps=1000,
        last_seen=NOW.timestamp() - 2,
        last_round=NOW.timestamp() - (180 if name == "test" else 3),
    )
    for name, number in (("dev", 10), ("test", 15), ("staging", 20), ("prod", 30))
)


class Estate:
    """The sample as a coordinator would hold it: every body of the API."""

    def __init__(self, *, leak: bool = True, undecided: bool = False, **declared: Any) -> None:
        self.topology = topology(**declared)
        self.plan = build_plan(self.topology, {}, {})
        self.matrix = observe(self.plan, leak=leak, undecided=undecided)
        self.book = FindingBook()
        self.exchanges = Exchanges(lambda _: ())
        self.events: list[Event] = list(self.book.apply(self.cells, NOW, 1))

    @property
    def cells(self) -> tuple[Cell, ...]:
        return compare(self.topology, self.plan, self.matrix, NOW)

    def situation(self, *, in_run: bool = False) -> Situation:
        return situation_of(self.topology, AGENTS, in_run=in_run)

    def status(self, agents: Iterable[AgentState] = AGENTS, losses: Mapping[str, Losses] | None = None) -> Status:
        found, now = self.book.findings, NOW.timestamp()
        return status_of(standing(self.topology, agents, self.cells, found, now=now, losses=losses))

    def snapshot(self, span: Span | None = None) -> Snapshot:
        return Snapshot(
            at=NOW.timestamp(),
            topology=self.topology,
            plan=self.plan,
            cells=self.cells,
            findings=self.book.findings,
            events=tuple(self.events),
            agents=AGENTS,
            span=span,
        )

    def run_body(self, *, with_cells: bool = False, sweep: bool = False) -> runs.FinishedRun:
        cells = compare(self.topology, in_scope(self.plan, sweep=sweep), self.matrix, NOW, run="run-1")
        verified = verify.verify(
            self.topology,
            cells,
            self.book.findings,
            AGENTS,
            started=STARTED,
            finished=NOW.timestamp(),
            with_cells=with_cells,
        )
        run = runs.Run(
            run="run-1",
            state="finished",
            waiting_for=(),
            progress=runs.Progress(done=1200, cells=1200),
            error=None,
            stopped=None,
            ended=False,
            result=None,
        )
        return verify.concluded(run, verified, self.situation(in_run=True), cells, self.book.findings, self.plan)

    def explain(self, *, finding: str = "", asked: tuple[str, str, str] = ("", "", "")) -> Explanation:
        if finding:
            found = self.book.get(finding)
            if found is None:
                raise explain.NothingToExplainError(f"no finding {finding}")
            shown = explain.of_finding(self.plan, self.cells, found)
            return explain.explain_finding(self.situation(), found, shown, self.events, self.exchanges)
        shown = explain.find_cell(self.plan, self.cells, asked)
        return explain.explain_cell(self.situation(), shown, self.exchanges)
