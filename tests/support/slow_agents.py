"""Agents that take their time over an order, and what happens meanwhile."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from coordinator.store import Report, Store
from reachability.arrival import ArrivalRow, WitnessReport
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, Result, Schedule
from tests.support.rounds import ANSWERED, TOPOLOGY, World
from tests.support.virtual import now, run
from wire.messages import Down, Go, Status
from wire.topics import UpChannel, UpTopic

TWO_WITNESSES = TOPOLOGY.replace(
    b"{prod-1: {addresses: [10.30.0.10]}}", b"{prod-1: {addresses: [10.30.0.10]}, prod-2: {addresses: [10.30.0.11]}}"
)
NEVER = math.inf
PROD = "10.30.0.10"


def arrived(order: Go) -> WitnessReport:
    """The witness's correction: copies to a port that was silent came after it had reported."""
    target = next(t for t in order.targets if t.address == PROD and t.protocol is Protocol.TCP)
    row = ArrivalRow(
        target=target.id, address=PROD, protocol=Protocol.TCP, ports=PortSet.parse("22"), copies=2, last_copy=1,
        came_from="10.10.0.10",
    )  # fmt: skip
    return WitnessReport(round=order.round, agent="prod-1", late=True, arrivals=(row,))


class Slow(World):
    """Agents that take as long for an order as `takes` says. What they report is stored first, as the receiver does."""

    def __init__(self, store: Store, topology: bytes = TOPOLOGY) -> None:
        super().__init__(store, topology)
        self.controls, self.tail_s = (ANSWERED,), 2.0
        self.takes: dict[tuple[str, type[Down]], float] = {}

    def _answer(self, agent: str, message: Down) -> None:
        delay_s = self.takes.get((agent, type(message)), 0.0)
        if delay_s < NEVER:
            asyncio.get_running_loop().call_later(delay_s, super()._answer, agent, message)

    def _report(self, report: Report) -> None:
        number = len(self.everything) + 1
        self.estate.store.take(report.agent, "spool", number, number, [report], self.now)
        super()._report(report)

    def connected(self, name: str, times: int, process: str = "") -> None:
        """An agent is there over its connection of that number."""
        environment = self.estate.topology.agents()[name]
        status = Status(
            name=name, environment=environment, online=True, raw=True, rate_pps=1000, connections=times, instance=process
        )  # fmt: skip
        self.estate.take_status(UpTopic(environment, name, UpChannel.STATUS), status, retained=False)

    def at(self, kind: type[Down]) -> list[float]:
        """When such messages went down."""
        return [at for at, (_, message) in zip(self.times, self.sent, strict=True) if isinstance(message, kind)]

    def results(self, address: str = "10.30.0.10") -> set[Result]:
        """Of dev's cells at an address in prod over TCP."""
        mine = ("dev-1", address, Protocol.TCP)
        return {c.result for c in self.estate.cells() if (c.key.agent, c.key.address, c.key.protocol) == mine}

    def cycle(self, agent: str = "dev-1", *destinations: str) -> float:
        """A cycle of its own; how long it took."""

        async def scene() -> float:
            await self.engine.cycle(agent, destinations or ("prod",), Schedule.CYCLE)
            return now()

        return run(scene())


def about(seconds: float) -> object:
    return pytest.approx(seconds, rel=0, abs=0.01)


def at(world: Slow, seconds: float, happens: Callable[[], None]) -> None:
    """Let something happen so long after the first order of the scene."""
    before, begun = world.on_message, False

    def message(body: Down) -> None:
        nonlocal begun
        if not begun:
            begun = True
            asyncio.get_running_loop().call_later(seconds, happens)
        before(body)

    world.on_message = message
