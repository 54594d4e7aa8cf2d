"""What agents send up: checked, committed to the store, acknowledged, and handed to the rounds that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from coordinator.estate import Estate
from coordinator.post import Postman
from coordinator.rounds import Engine
from coordinator.store import Report
from wire.envelope import BadMessage, unpack_up
from wire.messages import Ack, Armed, Batch, Done, Resolved, Status
from wire.mqtt import Link, Message
from wire.topics import UpTopic, parse_up

log = structlog.get_logger("collect")


class Collector:
    """Takes messages one after the other. `connected` is called with an agent that has come."""

    def __init__(self, estate: Estate, engine: Engine, post: Postman, connected: Callable[[str], None]) -> None:
        self._estate = estate
        self._engine = engine
        self._post = post
        self._connected = connected
        self._acks: dict[tuple[str, str], int] = {}  # agent, spool -> up to which sequence
        self._wanted = asyncio.Event()
        self._complained: set[str] = set()

    async def run(self, link: Link) -> None:
        """Receive for ever."""
        async for message in link.messages():
            try:
                self.take(message)
            except BadMessage as error:
                self._complain(message.topic, str(error))
            message.done()

    async def acknowledge(self) -> None:
        """Send acknowledgements, those of one spool together."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._acks:
                (agent, spool), sequence = self._acks.popitem()
                await self._post(agent, Ack(spool=spool, sequence=sequence))

    def take(self, message: Message) -> None:
        """Take one message; BadMessage says what is wrong with it."""
        topic = parse_up(message.topic)
        if topic is None:
            raise BadMessage(f"'{message.topic}' is no topic of an agent")
        if self._estate.topology.agents().get(topic.agent) != topic.environment:
            raise BadMessage(f"agent '{topic.agent}' of '{topic.environment}' is not in {self._estate.topology.file}")
        body = unpack_up(message.payload)
        match body:
            case Status():
                heard = self._estate.take_status(topic, body, retained=message.retained)
                if heard.problem:
                    raise BadMessage(heard.problem)
                if heard.changed:
                    state = self._estate.agents[topic.agent]
                    log.info("agent", name=topic.agent, online=state.online, lacks=state.lacks)
                    if state.online:
                        self._connected(topic.agent)
            case Batch():
                self._batch(topic, body)
            case Armed() | Done() | Resolved():
                self._engine.answer(topic.agent, body)

    def _batch(self, topic: UpTopic, batch: Batch) -> None:
        reports: list[Report] = [*batch.sources, *batch.witnesses]
        strange = sorted({report.agent for report in reports} - {topic.agent})
        if strange:
            raise BadMessage(f"'{topic.agent}' reports in the name of '{', '.join(strange)}'")
        received = self._estate.clock() - max(0.0, batch.age_s)
        new, held = self._estate.store.take(topic.agent, batch.spool, batch.sequence, batch.oldest, reports, received)
        self._acks[topic.agent, batch.spool] = held
        self._wanted.set()
        if new:
            for report in reports:
                self._engine.report(report, received)

    def _complain(self, topic: str, why: str) -> None:
        """Once for each cause: a foreign agent that talks on must not fill the log."""
        if why not in self._complained and len(self._complained) < 1000:  # noqa: PLR2004
            self._complained.add(why)
            log.warning("a message is refused", topic=topic, why=why)
