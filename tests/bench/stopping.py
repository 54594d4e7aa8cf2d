"""How soon a stop goes out while a million rows are taken: read, packed, committed, judged."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import structlog

from coordinator.messaging.reading import read
from reachability.observation import Observation, SourceReport, Target
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.vocabulary import Protocol, Reason, RoundKind, Schedule, State
from tests.support.coordinator import NOW, Coordinator
from wire.envelope import pack_up
from wire.messages import Ack, Batch, Down, Status
from wire.mqtt import Message
from wire.topics import UpChannel, UpTopic, up

ROWS, BATCHES, PORTS = 1_000_000, 100, 65_535
STATED_S = 0.2
EVERY_S = 0.25


class Messages:
    """A link on which an agent's batches have come, all of them."""

    def __init__(self, payloads: list[bytes]) -> None:
        self._payloads = payloads

    async def messages(self) -> AsyncIterator[Message]:
        for payload in self._payloads:
            yield Message(up("dev", "dev-1", UpChannel.OBSERVATIONS), payload, retained=False, done=lambda: None)
        await asyncio.Event().wait()


def batch(number: int) -> bytes:
    """As an agent sends it: each row of one port, no two beside each other alike."""
    rows = tuple(
        Observation(
            target=1, source_address="10.10.0.10", address="10.30.0.10", protocol=Protocol.TCP,
            state=State.FILTERED if port % 2 else State.CLOSED, reason=Reason.NO_RESPONSE if port % 2 else Reason.CONN_REFUSED,
            ports=PortSet.of([port]), way="raw", via="eth0", sent=3 + port % 7, covered=3, rtt_ms=None if port % 2 else float(port % 100),
        )
        for port in range(1, ROWS // BATCHES + 1)
    )  # fmt: skip
    report = SourceReport(round=f"R{number}", agent="dev-1", observations=rows)
    return pack_up(Batch(spool="5b1c", sequence=number, age_s=0.0, sources=(report,)))


def ask(world: Coordinator, number: int) -> None:
    """The round that a batch is the report of."""
    target = Target(
        id=1, environment="prod", address="10.30.0.10", protocol=Protocol.TCP, ports=PortSet.parse(f"1-{PORTS}"),
        source="10.10.0.10", witness="prod-1",
    )  # fmt: skip
    spec = RoundSpec(
        round=f"R{number}", kind=RoundKind.NORMAL, schedule=Schedule.SWEEP, source="dev-1", source_environment="dev",
        destination="prod", targets=(target,),
    )  # fmt: skip
    world.store.start_round(spec, spec.round, NOW)


async def stops(world: Coordinator, payloads: list[bytes]) -> tuple[list[float], float]:
    """How long each stop took to be sent to every agent, and all of the taking."""
    waits: list[float] = []
    told: list[float] = []

    async def tell(_agent: str, _stop: Down | Ack) -> None:
        told.append(time.perf_counter())

    world.engine.brake._post = tell
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(world.receiver.run(cast("Any", Messages(payloads))), name="collect"),
            group.create_task(world.engine.judging.run(), name="judging"),
        ]
        taking = group.create_task(through(world, len(payloads)), name="taking")
        while not taking.done():
            due = time.perf_counter() + EVERY_S
            await asyncio.sleep(EVERY_S)  # a person asks at any time: what the loop is late by counts
            await world.engine.stop("bench")
            waits.append(told[-1] - due)  # it returns when that is written, too
            await world.engine.resume()
        for task in tasks:
            task.cancel()
    return waits, time.perf_counter() - began


def online(world: Coordinator, agent: str) -> None:
    """Who is to be told of a stop."""
    environment = agent.partition("-")[0]
    status = Status(name=agent, environment=environment, online=True, raw=True)
    world.estate.take_status(UpTopic(environment, agent, UpChannel.STATUS), status, retained=False)


async def through(world: Coordinator, batches: int) -> None:
    """Returns when all of them are acknowledged, and what they show is judged."""
    while not world.acknowledged or world.acknowledged[-1][1].sequence < batches:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(EVERY_S)
    await world.engine.judging.catch_up()


def stopping() -> None:
    """`python -m tests.bench stop`."""
    print(f"\nA stop, while {ROWS:,} rows of one agent are taken in {BATCHES} batches, each row of one port")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    payloads = [batch(number) for number in range(1, BATCHES + 1)]
    with tempfile.TemporaryDirectory() as made:
        world = Coordinator(Path(made))
        world.receiver._signers = cast(
            "Any", SimpleNamespace(open=lambda _, payload: read(payload))
        )  # as a coordinator
        for agent in ("dev-1", "prod-1"):
            online(world, agent)
        for number in range(1, BATCHES + 1):
            ask(world, number)
        waits, seconds = asyncio.run(stops(world, payloads))
        world.runner.close()
        world.store.close()
    waits.sort()
    print("| stops | median, ms | slowest, ms | stated, ms | taking all of it, s |\n|---|---|---|---|---|")
    middle, slowest = waits[len(waits) // 2] * 1000, waits[-1] * 1000
    print(f"| {len(waits)} | {middle:.0f} | {slowest:.0f} | {STATED_S * 1000:.0f} | {seconds:.1f} |")
