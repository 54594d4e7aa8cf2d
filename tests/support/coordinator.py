"""A coordinator without a broker: what its agents say is put before its receiver."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from coordinator.api import agents
from coordinator.messaging.receiver import Receiver
from coordinator.rounds.control_echo import Echo
from coordinator.rounds.engine import Engine
from coordinator.rounds.requests import Controls
from coordinator.state.estate import Estate
from coordinator.store import Store
from coordinator.topology.load import parse_topology
from reachability.observation import SourceReport
from tests.support.answers import json_of
from wire.envelope import AnyUp, pack_up, unpack_up
from wire.messages import Ack, Batch, Down, Gap, Resolve, Resolved, Status
from wire.mqtt import Message
from wire.topics import UpChannel, UpTopic, up

TOPOLOGY = """version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}
  prod:
    networks: [10.30.0.0/24]
    agents: {prod-1: {addresses: [10.30.0.10]}}
    services: {db: {hosts: [db.prod.internal], ports: [tcp/5432]}}
probing: {every: 60s, confirm: 1}
"""
NOW = 1_704_099_600.0  # 2024-01-01T09:00:00Z


class Coordinator:
    def __init__(self, directory: Path) -> None:
        self.now, self.runner, self.directory = NOW, asyncio.Runner(), directory
        self.set_s = 0.0  # by how much the wall clock was set
        self._start()

    def restart(self) -> None:
        """Another coordinator takes the store over."""
        self.store.close()
        self._start()

    def _start(self) -> None:
        self.store = Store(self.directory, steady=lambda: self.now - self.set_s, boot="b")
        self.estate = Estate(parse_topology(TOPOLOGY.encode()), self.store, lambda: self.now)
        self.acknowledged: list[tuple[str, Ack]] = []
        engine = Engine(self.estate, self._post, Echo(), lambda: Controls((("10.0.0.1", 8883),)))
        self.engine = engine
        believing = SimpleNamespace(open=_believed)
        self.receiver = Receiver(self.estate, engine, self._post, believing, lambda _: None, lambda *_: None)  # type: ignore[arg-type]

    async def _post(self, agent: str, body: Down | Ack) -> None:
        if isinstance(body, Ack):
            self.acknowledged.append((agent, body))
        elif isinstance(body, Resolve):
            self.engine.answer(agent, Resolved(id=body.id, lookups=()))

    def hear(self, *bodies: Status | Batch, agent: str = "dev-1") -> list[int]:
        """Let the agent say something; what is acknowledged then."""
        environment = agent.partition("-")[0]

        async def say() -> None:
            self.acknowledged.clear()
            async with asyncio.TaskGroup() as group:
                for body in bodies:
                    channel = UpChannel.STATUS if isinstance(body, Status) else UpChannel.OBSERVATIONS
                    topic = up(environment, agent, channel)
                    await self.receiver._try(Message(topic, pack_up(body), retained=False, done=lambda: None))
                task = group.create_task(self.receiver.acknowledge(), name="acknowledge")  # those of one spool together
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                task.cancel()

        self.runner.run(say())
        return [ack.sequence for _, ack in self.acknowledged]

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """SQLite may not write at all: what a disk says that is full to the last byte."""
        self.store._db.execute("PRAGMA query_only = ON")
        yield
        self.store._db.execute("PRAGMA query_only = OFF")

    def lost(self, agent: str = "dev-1") -> Any:
        bodies = json_of(agents.agents_body(self.estate.agents.values(), self.now, self.estate.losses))
        return next(body["lost"] for body in bodies if body["name"] == agent)


async def _believed(_: UpTopic, payload: bytes) -> AnyUp:
    return unpack_up(payload)


def batch(sequence: int, *gaps: Gap, oldest: int = 1, reports: int = 1) -> Batch:
    sources = tuple(SourceReport(round=f"R{sequence}", agent="dev-1") for _ in range(reports))
    return Batch(spool="5b1c", sequence=sequence, age_s=1.0, oldest=oldest, sources=sources, gaps=gaps)
