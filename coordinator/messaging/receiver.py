"""What agents send up: checked, committed to the store, acknowledged, and handed to the rounds that wait for it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

import structlog
from structlog.contextvars import bound_contextvars

from coordinator.messaging.causes import NotTheirs, cause_of
from coordinator.messaging.floods import Floods
from coordinator.messaging.reading import is_light
from coordinator.messaging.sender import Sender
from coordinator.messaging.signers import NotKnownYet, Signers
from coordinator.rounds.engine import Engine
from coordinator.state.estate import Estate
from coordinator.store import Gap, Report, StoreError
from coordinator.store.held import PackedReport, packed
from coordinator.store.spools import TooManyHolesError
from reachability.texts import printable
from wire.envelope import BadMessage, OtherVersion
from wire.messages import Ack, Armed, Batch, Done, Renew, Resolved, Status
from wire.mqtt import Link, Message
from wire.refusals import Refusals
from wire.topics import UpTopic, parse_up

MOST_TOPIC = 200  # characters that are shown
READS = 50  # for each message that is taken; the event loop reads one a turn

log = structlog.get_logger("collect")


class Receiver:
    """Takes messages one after the other; one that takes long to read holds up nothing but its agent's further ones.

    `refusals` is shown to people; `refused` counts by agent, "" for one that is not declared, and cause. `connected` is
    called with an agent that has come, `renew` with its request for a certificate.
    """

    def __init__(
        self,
        estate: Estate,
        engine: Engine,
        post: Sender,
        signers: Signers,
        connected: Callable[[str], None],
        renew: Callable[[UpTopic, Renew], None],
        floods: Floods | None = None,
    ) -> None:
        self.refusals = Refusals()
        self.refused: Counter[tuple[str, str]] = Counter()
        self._signers = signers
        self._estate = estate
        self._engine = engine
        self._post = post
        self._connected, self._renew = connected, renew
        self._acks: dict[tuple[str, str], int] = {}  # agent, spool -> up to which sequence
        self.own: Callable[[bytes], bool] = lambda _: False  # what the coordinator itself tries the broker with
        self._wanted = asyncio.Event()
        self._floods = floods or Floods(time.monotonic)
        self._waiting: dict[str, deque[Message]] = {}  # by agent: one that sends much waits for itself
        self._busy: set[str] = set()  # agents of which a message is being read in a thread
        self._one_at_a_time = asyncio.Lock()  # threads do not compute side by side, and this one takes all in turn
        self._arrived = asyncio.Event()

    async def run(self, link: Link) -> None:
        """Receive for ever, take from every agent in turn, and acknowledge."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(link), name="receive")
            group.create_task(self._take_in_turn(group), name="take in turn")
            group.create_task(self.acknowledge(), name="acknowledge")

    async def _receive(self, link: Link) -> None:
        async for message in link.messages():
            # The broker may forget it: what is not acknowledged from end to end is sent again.
            message.done()
            topic = parse_up(message.topic)
            if topic is None or self._floods.passes(topic.agent, len(message.payload)):
                self._waiting.setdefault(topic.agent if topic else "", deque()).append(message)
                self._arrived.set()
            elif topic is not None:
                self._floods.dropped[topic.agent] += len(self._waiting.pop(topic.agent, ()))

    async def _take_in_turn(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while ready := [agent for agent in self._waiting if agent not in self._busy]:
                for agent in ready:
                    if (message := self._next(agent)) is None:  # it was cut off meanwhile
                        continue
                    if is_light(message.payload):
                        await self._try(message)
                    else:
                        self._busy.add(agent)
                        group.create_task(self._try_heavy(agent, message), name=f"take of {agent}")
                    # Reading goes first: what is unread at the broker waits in one line, everybody's behind a flood.
                    for _ in range(READS):
                        await asyncio.sleep(0)

    def _next(self, agent: str) -> Message | None:
        waiting = self._waiting.get(agent)
        message = waiting.popleft() if waiting else None
        if not waiting:
            self._waiting.pop(agent, None)
        return message

    async def _try_heavy(self, agent: str, message: Message) -> None:
        async with self._one_at_a_time:
            await self._try(message)
        self._busy.remove(agent)
        self._arrived.set()

    async def _try(self, message: Message) -> None:
        try:
            await self.take(message)
        except NotKnownYet as error:  # a batch comes again, and an answer is of a round that is over
            log.debug("a message came too early", topic=message.topic, why=str(error))
        except BadMessage as error:
            if not self.own(message.payload) and self._refuse(message, error, str(error)):
                log.warning("a message is refused", topic=message.topic, why=str(error))
        except StoreError as error:  # not acknowledged, so that the agent sends it again
            self._estate.cannot_write(error)
        except Exception as error:  # what one message does must not end the taking of the others'
            why = f"a fault in segwatch while it was taken, please report it: {type(error).__name__}: {error}"
            if self._refuse(message, error, printable(why[:MOST_TOPIC])):
                log.exception("a message is refused", topic=message.topic)

    def _refuse(self, message: Message, error: Exception, why: str) -> bool:
        """Count it; whether its cause is new."""
        topic = parse_up(message.topic)
        declared = topic is not None and topic.agent in self._estate.agents
        self.refused[topic.agent if topic and declared else "", cause_of(error)] += 1
        return self.refusals.add(f"{printable(message.topic[:MOST_TOPIC])}: {why}")

    async def acknowledge(self) -> None:
        """Send acknowledgements, those of one spool together."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._acks:
                first = next(iter(self._acks))  # the oldest: the newest may be one agent's for ever
                sequence = self._acks.pop(first)
                agent, spool = first
                await self._post(agent, Ack(spool=spool, sequence=sequence))

    async def take(self, message: Message) -> None:
        """Take one message; BadMessage says what is wrong with it."""
        topic = parse_up(message.topic)
        if topic is None:
            raise NotTheirs(f"'{message.topic}' is not an agent's topic")
        self._find(topic)
        try:
            body = await self._signers.open(topic, message.payload)
            self._find(topic)  # a reload may have taken it out meanwhile
        except OtherVersion as error:
            # What is sent to it will be refused there, in words: so that both ends say it.
            if self._estate.cannot_take(topic.agent, str(error)):
                self._connected(topic.agent)
            raise
        match body:
            case Status():
                self._status(topic, body, retained=message.retained)
            case Batch():
                await self._batch(topic, body, light=is_light(message.payload))
            case Armed() | Done():
                if body.agent != topic.agent:
                    raise NotTheirs(f"'{topic.agent}' answers in the name of '{body.agent}'")
                with bound_contextvars(round=body.round):
                    self._engine.answer(topic.agent, body)
            case Resolved():
                self._engine.answer(topic.agent, body)
            case _:
                self._renew(topic, body)

    def _find(self, topic: UpTopic) -> None:
        if self._estate.topology.agents().get(topic.agent) != topic.environment:
            raise NotTheirs(f"agent '{topic.agent}' of '{topic.environment}' is not in {self._estate.topology.file}")

    def _status(self, topic: UpTopic, status: Status, *, retained: bool) -> None:
        before = self._estate.agents[topic.agent].refusals
        heard = self._estate.take_status(topic, status, retained=retained)
        if heard.problem:
            raise NotTheirs(heard.problem)
        state = self._estate.agents[topic.agent]
        if state.refusals > before:
            log.warning("agent refused", name=topic.agent, times=state.refusals, why=state.refused[-1:])
        if heard.changed:
            log.info("agent", name=topic.agent, online=state.online, lacks=state.lacks)
            if state.online:
                self._connected(topic.agent)

    async def _batch(self, topic: UpTopic, batch: Batch, *, light: bool) -> None:
        reports: list[Report] = [*batch.sources, *batch.witnesses]
        strange = sorted({report.agent for report in reports} - {topic.agent})
        if strange:
            raise NotTheirs(f"'{topic.agent}' reports in the name of '{', '.join(strange)}'")
        ready = _packed(reports) if light else await asyncio.to_thread(_packed, reports)
        now = self._estate.clock()
        received = now - max(0.0, batch.age_s)
        gaps = [
            Gap(
                spool=batch.spool, first=gap.first, last=gap.last, batches=gap.last - gap.first + 1, reports=gap.reports,
                since=now - gap.begun_age_s, until=now - gap.ended_age_s, why=gap.why,
            )
            for gap in batch.gaps
        ]  # fmt: skip
        try:
            taken = await self._estate.store.beside(
                lambda: self._estate.store.take(
                    topic.agent, batch.spool, batch.sequence, batch.oldest, ready, received, gaps=gaps, now=now
                )
            )
        except TooManyHolesError as error:
            raise BadMessage(str(error)) from error
        for gap in taken.lost:
            log.warning("lost", agent=topic.agent, batches=gap.batches, reports=gap.reports, why=gap.why)
        self._estate.take_gaps(topic.agent, taken.lost)
        if taken.set_back:
            log.warning(
                "an agent's spool was set back to an older copy: it goes on under another id", agent=topic.agent
            )
        self._acks[topic.agent, batch.spool] = max(taken.acknowledged, self._acks.get((topic.agent, batch.spool), 0))
        self._wanted.set()
        if taken.new:
            for report in reports:
                with bound_contextvars(round=report.round):
                    self._engine.report(report)


def _packed(reports: Sequence[Report]) -> list[PackedReport]:
    return [packed(report) for report in reports]
