"""The round engine with agents that are functions, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from coordinator.rounds.control_echo import Echo
from coordinator.rounds.engine import Engine
from coordinator.rounds.requests import Controls
from coordinator.state.estate import Estate
from coordinator.store import Report, Store
from coordinator.topology.load import parse_topology
from reachability.arrival import Untokened, WitnessHealth, WitnessReport
from reachability.observation import ControlResult, Observation, SourceReport, Target
from reachability.vocabulary import Protocol, Reason, State
from tests.support.virtual import now, run
from wire.messages import Arm, Armed, Close, Done, Down, Go, Status
from wire.topics import UpChannel, UpTopic

TOPOLOGY = b"""version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}
  test: {networks: [10.20.0.0/24], agents: {test-1: {addresses: [10.20.0.10]}}}
  prod: {networks: [10.30.0.0/24], agents: {prod-1: {addresses: [10.30.0.10]}}}
probing: {every: 60s, confirm: 1}
"""
ANSWERED = ControlResult(
    address="10.0.0.1",
    protocol=Protocol.TCP,
    kind="coordinator",
    port=8883,
    source_address="10.10.0.10",
    via="eth0",
    sent=2000,
    answered=2000,
    ended_good=True,
)


class World:
    """An engine and its agents, on virtual time. Every message that went down is in `sent`, as (agent, message)."""

    def __init__(self, store: Store, topology: bytes = TOPOLOGY) -> None:
        self.now = 1_000_000.0
        self.estate = Estate(parse_topology(topology), store, lambda: self.now)
        for name in self.estate.topology.agents():
            self.online(name)
        self.engine = Engine(self.estate, self._post, Echo(), lambda: Controls((("10.0.0.1", 8883),)))
        self.sent: list[tuple[str, Down]] = []
        self.times: list[float] = []  # of what was sent, in seconds since the scene began
        self.reports: list[SourceReport] = []
        self.everything: list[Report] = []
        self.deaf: set[str] = set()
        self.untokened: tuple[Untokened, ...] = ()
        self.controls: tuple[ControlResult, ...] = ()
        self.tail_s = 0.0
        self.span_s = 10.0  # from the first copy of a cell to its last
        self.on_go: Callable[[], None] = lambda: None
        self.on_message: Callable[[Down], None] = lambda _: None
        self._targets: dict[tuple[str, str], tuple[Target, ...]] = {}

    def online(self, name: str, online: bool = True) -> None:  # noqa: FBT001, FBT002 - a switch
        """An agent comes or goes."""
        environment = self.estate.topology.agents()[name]
        status = Status(name=name, environment=environment, online=online, raw=True, rate_pps=1000)
        self.estate.take_status(UpTopic(environment, name, UpChannel.STATUS), status, retained=False)

    def kinds(self) -> list[str]:
        """The messages by kind, in order."""
        return [type(message).__name__ for _, message in self.sent]

    def pairs(self) -> list[tuple[str, str]]:
        """(source, destination) of every round that a source was sent off to, in order."""
        return [(agent, m.targets[0].environment) for agent, m in self.sent if isinstance(m, Go)]

    def late(self, *reports: Report) -> None:
        """These come after their rounds were judged, and these are judged again."""
        for report in reports:
            self.engine.report(report)
        run(self.engine.judging.catch_up())

    async def _post(self, agent: str, body: Down) -> None:
        self.sent.append((agent, body))
        self.times.append(now())
        self.on_message(body)
        await asyncio.sleep(0)
        if agent not in self.deaf:
            asyncio.get_running_loop().call_soon(self._answer, agent, body)

    def _answer(self, agent: str, message: Down) -> None:
        if isinstance(message, Arm):
            self._targets[message.round, agent] = message.targets
            self._say(agent, Armed(round=message.round, agent=agent, ok=True))
        elif isinstance(message, Go):
            self.on_go()
            seen = tuple(_silent(target, now(), self.span_s) for target in message.targets)
            self.reports.append(
                SourceReport(round=message.round, agent=agent, observations=seen, controls=self.controls)
            )
            self._report(self.reports[-1])
            self._say(agent, Done(round=message.round, agent=agent, sequence=1, tail_s=self.tail_s))
        elif isinstance(message, Close):
            health = tuple(WitnessHealth(address=t.address, healthy=True) for t in self._targets[message.round, agent])
            heard = WitnessReport(round=message.round, agent=agent, health=health, untokened=self.untokened)
            self._report(heard)

    def _say(self, agent: str, message: Armed | Done) -> None:
        self.engine.answer(agent, message)

    def _report(self, report: Report) -> None:
        self.everything.append(report)
        self.engine.report(report)


def _silent(target: Target, at: float, span_s: float) -> Observation:
    return Observation(
        target=target.id,
        source_address=target.source or "10.10.0.10",
        address=target.address,
        protocol=target.protocol,
        state=State.FILTERED,
        reason=Reason.NO_RESPONSE,
        ports=target.ports,
        way="raw",
        via="eth0",
        sent=3,
        covered=3,
        first_at=at,
        last_at=at + span_s,
    )
