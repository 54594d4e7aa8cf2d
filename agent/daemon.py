"""The agent's daemon: one task tree around one broker connection, one spool and, while there are rounds, one child."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never

from agent.allow import AllowList
from agent.childproc import COMMAND, PacketChild
from agent.config import AgentConfig
from agent.identity import lacks_raw, own_addresses
from agent.journal import Log
from agent.memory import give_back
from agent.names import resolve
from agent.outbox import Outbox
from agent.rounds import Rounds
from agent.spool import Spool
from probes.childwire import ChildArmed, Configure, FromChild, Ready, SourceDone, WitnessDone
from reachability.observation import SourceReport, WitnessReport
from wire.envelope import BadMessage, pack_up
from wire.messages import VERSION, Ack, Arm, Close, Go, Plan, Resolve, Status, Stop, Up
from wire.mqtt import Broker, Link, Message, NotConnected, Will, parse_url
from wire.signing import Letter, channel_of, check_sequence, open_down, read_verify_key
from wire.topics import UpChannel, all_down, up

STATUS_S = 20.0
GOODBYE_S = 0.5
SHOWN_REFUSALS = 8
MOST_ANSWERS = 1000


@dataclass(slots=True)
class _Refusals:
    """What was refused since the start: how often, and the newest in words."""

    count: int = 0
    newest: deque[str] = field(default_factory=lambda: deque(maxlen=SHOWN_REFUSALS))

    def add(self, why: str) -> None:
        self.count += 1
        if why not in self.newest:
            self.newest.append(why)


class Daemon:
    """One agent. `run` returns after `stop`; what it cannot live without raises."""

    def __init__(self, config: AgentConfig, state_dir: Path, log: Log, *, child: Sequence[str] = COMMAND) -> None:
        self._config, self._log = config, log
        self._instance = secrets.token_hex(8)
        self._stopping = asyncio.Event()
        self._status_wanted = asyncio.Event()
        self._refusals = _Refusals()
        self._lost = 0
        self._rate = config.rate_pps
        self._flows = Plan(digest="").flows
        self._held: tuple[float, tuple[tuple[float, int], ...]] = (0.0, ())  # since when, what the last child left
        self._raw_lacks = lacks_raw()
        self._allow = AllowList.of(config.allow, config.deny, config.blackouts())
        credentials = config.credentials
        self._key = read_verify_key((state_dir / credentials.coordinator).read_text())
        self._spool = Spool(state_dir / "spool.sqlite")
        self._topics = {channel: up(config.environment, config.name, channel) for channel in UpChannel}
        broker = Broker.parse(
            config.broker,
            ca=state_dir / credentials.ca,
            certificate=state_dir / credentials.certificate,
            key=state_dir / credentials.key,
            server_name=credentials.server_name,
        )
        self._link = Link(
            broker,
            subscriptions=all_down(config.environment, config.name),
            will=lambda: Will(self._topics[UpChannel.STATUS], pack_up(self._status(online=False))),
            log=lambda problem: log.warning("not connected", problem=problem),
        )
        self._outbox = Outbox(self._link, self._spool, self._topics[UpChannel.OBSERVATIONS])
        self._answers: asyncio.Queue[Up] = asyncio.Queue(MOST_ANSWERS)
        self._child = PacketChild(self._configure, heard=self._heard, died=self._child_died, log=log, command=child)
        self._rounds = Rounds(
            config.name,
            lambda: (self._allow, self._allow.refuses_now(datetime.now(UTC))),
            self._child,
            spool=self._put,
            answer=self._answer,
            refused=self._refuse,
            clock=time.monotonic,
        )

    def stop(self) -> None:
        """End in good order, soon."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until `stop`."""
        self._log.info("agent starts", version=VERSION, broker=self._config.broker, spooled=len(self._spool))
        if self._raw_lacks:
            self._log.warning("no witness here, and probes by connect only", lacks=self._raw_lacks)
        try:
            async with self._link, asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._receive(group), name="receive"),
                    group.create_task(self._say_status(), name="status"),
                    group.create_task(self._send_answers(), name="answers"),
                    group.create_task(self._outbox.run(), name="outbox"),
                    group.create_task(self._child.run(), name="packet child"),
                ]
                await self._stopping.wait()
                await self._say_goodbye()
                for task in tasks:
                    task.cancel()
        finally:
            self._spool.close()
        self._log.info("agent ended")

    async def _receive(self, group: asyncio.TaskGroup) -> None:
        async for message in self._link.messages():
            self._take(message, group)
            message.done()

    def _take(self, message: Message, group: asyncio.TaskGroup) -> None:
        """Check a message that came down and do what it says; the broker that brought it is not trusted."""
        try:
            letter = open_down(self._key, message.payload, agent=self._config.name, now=time.time())
            channel = channel_of(letter.body)
            check_sequence(letter, self._spool.taken(channel))
            self._spool.take(channel, letter.sequence)
        except BadMessage as error:
            self._refuse(str(error))
            return
        except sqlite3.Error as error:
            self._refuse(f"a message was not taken: the state directory cannot be written: {error}")
            return
        self._obey(letter, group)

    def _obey(self, letter: Letter, group: asyncio.TaskGroup) -> None:
        body = letter.body
        match body:
            case Plan():
                self._rate = min(body.rate_pps, self._config.rate_pps)
                self._flows = min(body.flows, self._config.flows or body.flows)
            case Ack():
                self._acknowledged(body)
            case Resolve():
                group.create_task(self._resolve(body), name=f"resolve {body.id}")
            case Arm() | Go() | Close() | Stop():
                self._log.debug("order", kind=type(body).__name__.lower(), round=getattr(body, "round", ""))
                self._rounds.obey(body)
            case _:
                assert_never(body)

    def _acknowledged(self, ack: Ack) -> None:
        try:
            if self._outbox.acknowledged(ack):
                self._log.debug("acknowledged", sequence=ack.sequence, spooled=len(self._spool))
        except sqlite3.Error as error:  # a full disk: the coordinator drops what it has already
            self._log.error("batches stay in the spool", problem=str(error))

    async def _resolve(self, request: Resolve) -> None:
        self._answer(await resolve(request))

    def _heard(self, message: FromChild) -> None:
        match message:
            case Ready():
                self._raw_lacks = "" if message.raw else (message.lacks or "its packet child has no raw sockets")
                for note in message.notes:
                    self._log.info("packet child", note=note)
            case ChildArmed() | SourceDone() | WitnessDone():
                if isinstance(message, SourceDone):
                    self._held = (time.monotonic(), message.held)
                self._rounds.heard(message)
            case _:
                self._log.info("packet child", level=message.level, text=message.text)

    def _child_died(self, why: str) -> None:
        self._log.error("packet child", problem=why)
        self._rounds.child_died(why)

    def _configure(self) -> Configure:
        host, port = parse_url(self._config.broker)
        since, held = self._held
        age = time.monotonic() - since
        return Configure(
            agent=self._config.name,
            rate_pps=self._rate,
            flows=self._flows,
            held=tuple((seconds - age, count) for seconds, count in held if seconds > age),
            broker_host=host,
            broker_port=port,
        )

    def _put(self, report: SourceReport | WitnessReport) -> int:
        """Spool a report; 0 when that is not possible, which counts as lost."""
        try:
            if isinstance(report, SourceReport):
                sequence = self._spool.put(sources=(report,))
            else:
                sequence = self._spool.put(witnesses=(report,))
        except (sqlite3.Error, ValueError) as error:
            if report.kept:  # the packets make it large, and it stands without them
                self._log.warning("the packets of a report are lost", round=report.round, problem=str(error))
                return self._put(replace(report, kept=()))
            self._lost += 1
            self._log.error("a report is lost", round=report.round, problem=str(error))
            return 0
        self._outbox.changed()
        return sequence

    def _answer(self, answer: Up) -> None:
        if self._answers.full():  # the coordinator has long given up on the oldest
            self._answers.get_nowait()
        self._answers.put_nowait(answer)

    async def _send_answers(self) -> None:
        """Answers are for rounds that run now: tried for a while, then dropped; the coordinator goes on without."""
        while True:
            answer = await self._answers.get()
            payload = pack_up(answer)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(30):
                    while True:
                        await self._link.wait_connected()
                        try:
                            await self._link.publish(self._topics[UpChannel.ROUND], payload)
                            break
                        except NotConnected:
                            await asyncio.sleep(0.1)

    def _refuse(self, why: str) -> None:
        self._refusals.add(why)
        self._log.warning("refused", why=why)
        self._status_wanted.set()

    async def _say_status(self) -> None:
        """On every connection, when something is refused, and now and then."""
        connections = 0
        while True:
            now = await self._link.wait_connected()
            if now != connections:
                connections = now
                self._log.info("connected", broker=self._config.broker, times=now)
                self._outbox.reconnected()
            self._status_wanted.clear()
            with contextlib.suppress(NotConnected):
                await self._link.publish(
                    self._topics[UpChannel.STATUS], pack_up(self._status(online=True)), retain=True
                )
            self._rounds.expire()
            if not self._child.pid:
                give_back()
            async with asyncio.TaskGroup() as group:
                waits = [
                    group.create_task(self._link.wait_connected(after=connections), name="reconnect"),
                    group.create_task(self._status_wanted.wait(), name="status wanted"),
                ]
                await asyncio.wait(waits, timeout=STATUS_S, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()

    async def _say_goodbye(self) -> None:
        with contextlib.suppress(NotConnected, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._link.publish(
                    self._topics[UpChannel.STATUS], pack_up(self._status(online=False)), retain=True
                )

    def _status(self, *, online: bool) -> Status:
        return Status(
            name=self._config.name,
            environment=self._config.environment,
            online=online,
            version=VERSION,
            instance=self._instance,
            addresses=own_addresses(),
            raw=not self._raw_lacks,
            lacks=self._raw_lacks,
            rate_pps=self._config.rate_pps,
            flows=self._config.flows,
            spooled=len(self._spool),
            lost=self._spool.gap + self._lost,
            refused=tuple(self._refusals.newest),
            refusals=self._refusals.count,
            sent_at=time.time(),
            traces=True,
        )


async def serve(config: AgentConfig, state_dir: Path, log: Log) -> None:
    """Run until SIGTERM or SIGINT."""
    daemon = Daemon(config, state_dir, log)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop)
    await daemon.run()
