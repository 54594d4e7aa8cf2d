"""What the coordinator does about gaps, about a store that cannot be written, and about what is old."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nacl.signing import SigningKey

from cli.commands.coverage import listing
from cli.show.render import Paint
from coordinator.api import metrics, views
from coordinator.messaging.receiver import Collector
from coordinator.messaging.sender import Postman
from coordinator.rounds.brake import Brake
from coordinator.rounds.control_echo import Echo
from coordinator.rounds.engine import Engine
from coordinator.rounds.requests import Controls
from coordinator.rounds.scheduler import Scheduler
from coordinator.state.estate import Estate
from coordinator.store import Store, StoreError
from coordinator.store.retention import CELLS_S, EVENTS_S, RESOLVED_S, ROUNDS_S
from coordinator.topology.load import parse_topology
from reachability.compare import key_of
from reachability.life import Event
from reachability.observation import Lookup, SourceReport
from reachability.ports import PortSet
from reachability.vocabulary import State
from tests.support.sample import evidence, judged
from wire.envelope import pack_up, unpack_up
from wire.messages import Ack, Batch, Down, Gap, Resolve, Resolved, Status
from wire.mqtt import Link, Message
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
        self.now, self.runner = NOW, asyncio.Runner()
        self.store = Store(directory)
        self.estate = Estate(parse_topology(TOPOLOGY.encode()), self.store, lambda: self.now)
        self.acknowledged: list[tuple[str, Ack]] = []
        engine = Engine(self.estate, self._post, Echo(), lambda: Controls(("10.0.0.1",), 8883))
        self.engine = engine
        believing = SimpleNamespace(open=lambda _, payload: unpack_up(payload))
        self.collector = Collector(self.estate, engine, self._post, believing, lambda _: None, lambda *_: None)  # type: ignore[arg-type]

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
                task = group.create_task(self.collector.acknowledge(), name="acknowledge")
                for body in bodies:
                    channel = UpChannel.STATUS if isinstance(body, Status) else UpChannel.OBSERVATIONS
                    topic = up(environment, agent, channel)
                    self.collector._try(Message(topic, pack_up(body), retained=False, done=lambda: None))
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
        bodies = views.agents_body(self.estate.agents.values(), self.now, self.estate.losses)
        return next(body["lost"] for body in bodies if body["name"] == agent)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Coordinator]:
    made = Coordinator(tmp_path)
    yield made
    made.runner.close()
    made.store.close()


def batch(sequence: int, *gaps: Gap, oldest: int = 1, reports: int = 1) -> Batch:
    sources = tuple(SourceReport(round=f"R{sequence}", agent="dev-1") for _ in range(reports))
    return Batch(spool="5b1c", sequence=sequence, age_s=1.0, oldest=oldest, sources=sources, gaps=gaps)


GAP = Gap(first=2, last=4, reports=3, why="bytes", begun_age_s=60.0, ended_age_s=30.0)


def test_a_gap_is_shown_wherever_a_person_looks_and_outlives_a_restart(world: Coordinator, tmp_path: Path) -> None:
    assert world.hear(batch(1)) == [1]
    assert world.hear(Status(name="dev-1", environment="dev", online=True, lost=3, untold=3)) == []
    assert world.lost() == {"batches": 0, "reports": 0, "from": None, "to": None, "why": [], "untold": 3}
    for _ in range(2):
        assert world.hear(batch(4, GAP, reports=0)) == [4]
    world.hear(Status(name="dev-1", environment="dev", online=True, lost=3))
    shown = {
        "batches": 3, "reports": 3, "from": "2024-01-01T08:59:00.000Z", "to": "2024-01-01T08:59:30.000Z", "why": ["bytes"]
    }  # fmt: skip
    assert world.lost() == {**shown, "untold": 0}
    world.store.close()
    again = Coordinator(tmp_path)
    assert again.lost() == {**shown, "untold": 0}
    estate = again.estate
    [gap] = views.gaps_body(estate.topology, again.store.gaps())
    assert gap == {
        "agent": "dev-1", "environment": "dev", "spool": "5b1c", "first": 2, "last": 4, **shown,
        "noticed": "2024-01-01T09:00:00.000Z",
    }  # fmt: skip
    coverage = views.coverage_body(estate.topology, estate.cells(), estate.losses)
    assert coverage["lost"] == [{"agent": "dev-1", "environment": "dev", **shown}]
    text = "\n".join(listing(coverage, Paint(color=False)))
    assert "! dev-1: 3 reports lost, made 2024-01-01 08:59:00 to 2024-01-01 08:59:30 UTC (its spool was full)" in text
    exposed = metrics.exposition(
        estate.topology, estate.cells(), (), estate.agents.values(), again.engine.durations, losses=estate.losses
    )
    assert 'segwatch_agent_lost_reports_total{agent="dev-1",environment="dev"} 3.0' in exposed
    assert 'segwatch_agent_lost_reports_total{agent="prod-1",environment="prod"} 0.0' in exposed
    assert 'segwatch_agent_spooled_batches{agent="dev-1",environment="dev"} 0.0' in exposed
    again.runner.close()
    world.store = again.store


@pytest.mark.parametrize(
    "bad",
    [
        {"first": 0},
        {"first": 5},
        {"last": 2**63},
        {"reports": -1},
        {"reports": 2**60},
        {"begun_age_s": float("nan")},
        {"why": "x" * 1000},
    ],
)
def test_a_gap_that_cannot_be_is_refused(world: Coordinator, bad: dict[str, Any]) -> None:
    fields = {name: getattr(GAP, name) for name in GAP.__struct_fields__}
    assert world.hear(batch(5, Gap(**{**fields, **bad}))) == []
    assert world.store.gaps() == []
    assert world.hear(batch(2**63)) == []
    assert world.hear(batch(1)) == [1]


def test_nothing_is_acknowledged_that_a_full_disk_did_not_take(world: Coordinator) -> None:
    assert world.hear(batch(1)) == [1]
    with world.full_disk():
        assert world.hear(batch(2), batch(3)) == []
        assert "the store cannot be written" in world.estate.problem
    assert world.hear(batch(3), batch(2)) == [3]
    world.estate.forget()
    assert world.estate.problem == "", "the next write that succeeds says so"


def test_what_was_concluded_while_the_disk_was_full_is_written_when_it_is_not(
    world: Coordinator, tmp_path: Path
) -> None:
    estate = world.estate
    target = next(t for t in estate.plan if t.agent == "dev-1" and t.address == "10.30.0.10" and t.cycle)
    key = key_of(target)
    opened = judged(evidence(target, State.OPEN), "R1", run="", at=NOW)
    with world.full_disk():
        estate.matrix.update(key, PortSet.of([22]), opened)
        estate._unsaved[key] = None
        [event] = estate.review()
        assert event.what == "opened"
        assert estate.review() == ()
        assert "cannot be written" in estate.problem
        with pytest.raises(StoreError, match="cannot be written"):
            estate.acknowledge(event.finding, "ada", "looking")
    assert (world.store.cells(), world.store.findings(), world.store.events()) == ([], [], [])
    estate.review()
    assert estate.problem == ""
    assert [(k, str(ports)) for k, ports, _ in world.store.cells()] == [(key, "22")]
    assert [finding.id for finding in world.store.findings()] == [event.finding]
    assert [each.what for each in world.store.events()] == ["opened", "acknowledged"]


def test_no_round_begins_without_a_record_of_it_and_the_schedule_goes_on(world: Coordinator) -> None:
    estate = world.estate
    status = Status(name="dev-1", environment="dev", online=True, raw=True, addresses=("10.10.0.10",), rate_pps=1000)
    estate.take_status(UpTopic("dev", "dev-1", UpChannel.STATUS), status, retained=False)
    scheduler = Scheduler(estate, world.engine.cycle, held=lambda: "")
    with world.full_disk():
        world.runner.run(scheduler._one("dev-1", "cycle"))
    assert "cannot be written" in estate.problem


def test_a_sequence_is_given_out_only_when_the_disk_knows(world: Coordinator) -> None:
    sent: list[str] = []

    class Away(Link):
        def __init__(self) -> None: ...

        async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
            sent.append(topic)

    postman = Postman(Away(), SigningKey.generate(), world.store, lambda _: "dev", lambda _: b"", lambda: NOW)
    with world.full_disk():
        world.runner.run(postman("dev-1", Ack(spool="s", sequence=1)))
        world.runner.run(postman("dev-1", Ack(spool="s", sequence=1)))
    assert sent == []
    world.runner.run(postman("dev-1", Ack(spool="s", sequence=1)))
    assert len(sent) == 1
    assert world.store.get("sequence", int, 0) >= int(NOW * 1000)


def test_a_stop_reaches_everybody_on_a_full_disk_and_says_what_a_restart_would_do(world: Coordinator) -> None:
    status = Status(name="dev-1", environment="dev", online=True, raw=True)
    world.estate.take_status(UpTopic("dev", "dev-1", UpChannel.STATUS), status, retained=False)
    sent: list[str] = []

    class Away(Link):
        def __init__(self) -> None: ...

        async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
            sent.append(topic)

    postman = Postman(Away(), SigningKey.generate(), world.store, lambda _: "dev", lambda _: b"", lambda: NOW)
    brake = Brake(world.estate, postman)
    with world.full_disk():
        with pytest.raises(StoreError, match="all probing is stopped, but a restart would begin it again: .*written"):
            world.runner.run(brake.stop("enough", "olga"))
        assert (len(sent), brake.stopped) == (1, "enough")
        with pytest.raises(StoreError):
            brake.resume("olga")
        assert brake.stopped == "enough"
    assert Brake(world.estate, postman).stopped == ""
    world.runner.run(brake.stop("enough", "olga"))
    assert Brake(world.estate, postman).stopped == "enough"


def test_a_revocation_and_a_renewal_on_a_full_disk_hold_and_are_written_later(world: Coordinator) -> None:
    estate = world.estate
    with world.full_disk():
        assert [event.what for event in estate.revoke({"dev-1": 100})] == ["revoked"]
        assert [event.what for event in estate.renewed("prod-1", datetime.fromtimestamp(NOW, UTC))] == ["renewed"]
        assert estate.generations == {"dev-1": 100}
        assert (estate.agents["dev-1"].state, world.store.events()) == ("revoked", [])
    estate.review()
    assert [(event.agent, event.what) for event in world.store.events()] == [
        ("dev-1", "revoked"),
        ("prod-1", "renewed"),
    ]


def test_what_is_old_goes_from_memory_and_store_alike(world: Coordinator, tmp_path: Path) -> None:
    estate = world.estate
    world.store.put_findings([], [Event(at=NOW - 2 * EVENTS_S, finding="F-0", what="opened")])
    target = next(t for t in estate.plan if t.agent == "dev-1" and t.address == "10.30.0.10" and t.cycle)
    planned, left = key_of(target), replace(key_of(target), source_address="10.10.0.99")
    opened = judged(evidence(target, State.OPEN), "R1", run="", at=NOW)
    closed = judged(evidence(target, State.FILTERED), "R2", run="", at=NOW)
    for key, found in ((planned, opened), (left, closed)):
        estate.matrix.update(key, PortSet.of([22]), found)
        estate._unsaved[key] = None
    [event] = estate.review()
    estate.take_lookups("dev-1", [Lookup(name="db.prod.internal", addresses=("10.30.0.9",))])
    estate.take_lookups("dev-1", [Lookup(name="gone.prod.internal", addresses=("10.30.0.8",))])
    assert estate.standing() == {"R1", "R2"}
    world.now += CELLS_S
    estate.forget()
    assert {key for key, _, _ in world.store.cells()} == {planned, left}
    assert world.store.lookups() == {
        "dev-1": {"db.prod.internal": Lookup(name="db.prod.internal", addresses=("10.30.0.9",))}
    }
    world.now += 1
    estate.forget()
    assert {key for key, _, _ in world.store.cells()} == set(estate.matrix) == {planned}, "it left the plan a week ago"
    shut = judged(evidence(target, State.FILTERED), "R3", run="", at=world.now)
    estate.matrix.update(planned, PortSet.of([22]), shut)
    assert [e.what for e in estate.review()] == ["resolved"]
    world.now += RESOLVED_S
    estate.forget()
    assert [finding.id for finding in world.store.findings()] == [event.finding]
    world.now += 1
    estate.forget()
    assert world.store.findings() == list(estate.book.findings) == []
    assert {each.finding for each in world.store.events()} == {event.finding}, "events stay a year"
    estate.take_topology(parse_topology(TOPOLOGY.replace("dev-1", "dev-2").encode()))
    estate.forget()
    assert world.store.lookups() == {}


def test_a_file_that_shrank_gives_its_room_back_to_the_disk(world: Coordinator, tmp_path: Path) -> None:
    def pages() -> int:
        with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db:
            return int(db.execute("PRAGMA page_count").fetchone()[0])

    chance = random.Random(7)
    for number in range(1, 9):  # noise does not compress well
        reports = [
            SourceReport(round=f"R{each}", agent="dev-1", problems=(chance.randbytes(12_000).hex(),))
            for each in range(50)
        ]
        world.store.take("dev-1", "s", number, 1, reports, NOW)
    peak = pages()
    assert peak > 1000
    world.now += ROUNDS_S + 1
    world.estate.forget()
    for _ in range(3):
        world.estate.forget()
    assert pages() < peak // 2
