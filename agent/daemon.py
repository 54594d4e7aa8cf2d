"""The agent's daemon: one task tree around one broker connection, one spool and, while there are rounds, one child."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from agent import offset
from agent.answers import Answers
from agent.challenges import Challenges
from agent.childproc import COMMAND, PacketChild
from agent.config import AgentConfig, ConfigError, broker_of, ca_of
from agent.identity import lacks_raw
from agent.in_force import InForce
from agent.journal import Log, bind_contextvars, bound_contextvars, clear_contextvars
from agent.lease import boot_time
from agent.memory import give_back
from agent.name_origins import Origins
from agent.names import resolve
from agent.outbox import Outbox
from agent.renewal import Renewal, in_child, switching, try_out
from agent.rounds import Rounds
from agent.spool import Spool
from agent.standstill import Standstill
from agent.statuses import Statuses
from agent.upkey import Signer
from probes.child.protocol import ChildArmed, FromChild, Halted, Ready, SourceDone, WitnessDone, round_of
from wire.envelope import BadMessage, pack_up
from wire.messages import VERSION, Ack, Arm, Close, Go, Plan, Renewed, Resolve, Status, Stop, Up
from wire.mqtt import Link, Message, NotConnected, Will
from wire.process.progress import Progress, ago
from wire.refusals import Refusals
from wire.signing import Refused, Replayed, SignedOrder, open_down, read_verify_key
from wire.topics import UpChannel, all_down, up

STATUS_S = 20.0
GOODBYE_S = 0.5
CONNECTION = "the connection to the broker"


class Daemon:
    """One agent. `run` returns after `stop`; what it cannot do without raises."""

    def __init__(
        self,
        config: AgentConfig,
        state_dir: Path,
        log: Log,
        *,
        child: Sequence[str] = COMMAND,
        raw_lacks: str | None = None,
    ) -> None:
        """`raw_lacks`: why the packet child will have no raw sockets, "" when it will; None to try one here."""
        self._config, self._log, self._state_dir = config, log, state_dir
        self._instance = secrets.token_hex(8)
        self._stopping, self.serving = asyncio.Event(), asyncio.Event()
        self._status_wanted = asyncio.Event()
        self._refusals = Refusals()
        self._challenges = Challenges(boot_time)
        self._in_force = InForce(config, lambda: self._link.peer)
        self._in_force.lease.changed = self._lease_changed
        self.progress, self._origins = Progress(), Origins()
        self._raw_lacks = lacks_raw() if raw_lacks is None else raw_lacks
        self._key = read_verify_key((state_dir / config.credentials.coordinator).read_text())
        self._signer = Signer(config, state_dir)
        self._spool = Spool(state_dir / "spool.sqlite")
        self._topics = {channel: up(config.environment, config.name, channel) for channel in UpChannel}
        broker = broker_of(*(place := (config, state_dir)))
        self._link = Link(
            broker,
            subscriptions=all_down(config.environment, config.name),
            will=self._will,
            log=lambda problem: log.warning("not connected", problem=problem),
            sleep=self.progress.sleeping(CONNECTION),
        )
        self._outbox = Outbox(self._link, self._spool, self._topics[UpChannel.OBSERVATIONS], sign=self._signer.sign)
        self._answers = Answers(self._link, self._topics[UpChannel.ROUND], self._pack, log)
        self._still = Standstill(lambda: not self._child.pid, self._status_wanted.set)
        self._statuses = Statuses(
            self._instance, self._challenges, self._signer, self._spool, self._refusals, self._still
        )
        self._child = PacketChild(
            self._in_force.configure,
            heard=self._heard,
            died=self._child_died,
            ended=self._still.look,
            log=log,
            command=child,
        )
        self._rounds = Rounds(
            config.name,
            self._in_force.allowed,
            self._child,
            spool=lambda report: self._outbox.put(report, log),
            answer=self._answers.put,
            refused=self._refuse,
            clock=time.monotonic,
            broker=lambda: self._link.peer,
            instance=self._instance,
        )
        self._renewal = Renewal(
            state_dir,
            child=in_child(state_dir),
            ask=self._answers.put,
            try_out=lambda path: try_out(replace(broker, certificate=path, key=path, ca=ca_of(*place, tried=True))),
            switch=switching(self._link, lambda: bool(self._rounds), lambda: ca_of(*place)),
            changed=self._status_wanted.set,
            log=log,
        )

    def stop(self) -> None:
        """End in good order, soon."""
        self._stopping.set()

    def take(self, config: AgentConfig) -> None:
        """Another allow-list, rate and blackout are in force from now on; what they forbid of a round ends it at once."""
        self._config = config
        self._in_force.take(config)
        self._rounds.recheck()
        if self._child.pid and self._rounds:
            self._child.tell(self._in_force.configure())
        self._status_wanted.set()

    def in_words(self) -> str:
        """How it is, in one sentence."""
        if not self._link.connected:
            return f"waiting for the broker {self._config.broker}: {self._link.problem}"
        began = self._rounds.began_at
        last = "no round yet" if began is None else f"last round {ago(time.monotonic() - began)}"
        return f"connected to {self._config.broker.removeprefix('mqtts://')}, {last}"

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
                    group.create_task(self._answers.run(), name="answers"),
                    group.create_task(self._outbox.run(), name="outbox"),
                    group.create_task(self._child.run(), name="packet child"),
                    group.create_task(self._renewal.run(), name="renewal"),
                    group.create_task(self._in_force.lease.run(), name="lease"),
                ]
                self.serving.set()
                await self._stopping.wait()
                await self._say_goodbye()
                for task in tasks:
                    task.cancel()
        finally:
            self._spool.close()
        self._log.info("agent ended")

    async def _receive(self, group: asyncio.TaskGroup) -> None:
        async for message in self._link.messages():
            clear_contextvars()
            try:
                self._take(message, group)
            except Exception as error:  # noqa: BLE001 - one order that cannot be obeyed must not end the agent
                self._log.exception("an order is refused")
                self._refuse(f"a fault in segwatch while it was obeyed, please report it: {type(error).__name__}")
            message.done()

    def _take(self, message: Message, group: asyncio.TaskGroup) -> None:
        """Check a message that came down and do what it says; the broker that brought it is not trusted."""
        try:
            order = open_down(self._key, message.payload, agent=self._config.name)
        except BadMessage as error:
            self._refuse(str(error))
            return
        try:
            self._challenges.take(order)
        except Refused as error:
            # A broker may send an acknowledgement again, and a newer one covers it.
            if not (isinstance(error, Replayed) and isinstance(order.body, Ack)):
                self._refuse(str(error))
            return
        self._in_force.lease.heard(order.body)
        self._obey(order, group)
        self._still.heard(order)

    def _obey(self, order: SignedOrder, group: asyncio.TaskGroup) -> None:
        body = order.body
        match body:
            case Plan():
                self._in_force.plan = body
                self._renewal.trust(body.trust)
                offset.record(self._state_dir, time.time() - order.issued, time.time())
            case Ack():
                try:
                    if self._outbox.acknowledged(body):
                        self._log.debug("acknowledged", sequence=body.sequence, spooled=len(self._spool))
                except sqlite3.Error as error:  # a full disk: the coordinator drops what it has already
                    self._log.error("batches stay in the spool", problem=str(error))
            case Resolve():
                group.create_task(self._resolve(body), name=f"resolve {body.id}")
            case Renewed():
                self._renewal.answer(body)
            case Arm() | Go() | Close() | Stop():
                if not isinstance(body, Stop):
                    bind_contextvars(round=body.round)  # what is logged on the way belongs to it
                self._log.debug("order", kind=type(body).__name__.lower())
                self._rounds.obey(body)
            case _:
                assert_never(body)

    async def _resolve(self, request: Resolve) -> None:
        self._answers.put(await resolve(request, explained=self._origins.of))

    def _heard(self, message: FromChild) -> None:
        match message:
            case Ready():
                self._raw_lacks = "" if message.raw else (message.lacks or "its packet child has no raw sockets")
                for note in message.notes:
                    self._log.info("packet child", note=note)
            case ChildArmed() | SourceDone() | WitnessDone() | Halted():
                if isinstance(message, SourceDone):
                    self._in_force.hold(message.held)
                with bound_contextvars(round=round_of(message)):
                    self._rounds.heard(message)
            case _:
                say = self._log.error if message.level == "error" else self._log.info
                say("packet child", text=message.text, round=message.round)

    def _child_died(self, why: str) -> None:
        self._log.error("packet child", problem=why, rounds=list(self._rounds))
        self._rounds.child_died(why)

    def _lease_changed(self) -> None:
        self._rounds.expire()  # what nothing may be sent for ends
        self._status_wanted.set()

    def _refuse(self, why: str) -> None:
        self._refusals.add(why)
        self._log.warning("refused", why=why)
        self._status_wanted.set()

    async def _say_status(self) -> None:
        """On every connection, when something is refused, and now and then."""
        connections = 0
        while True:
            now = await self._link.wait_connected()
            self.progress.passed(CONNECTION)
            self._status_wanted.clear()
            with contextlib.suppress(NotConnected):
                await self._publish(self._status(online=True))
            if now != connections:
                connections = now
                self._log.info("connected", broker=self._config.broker, times=now)
                self._outbox.reconnected()  # now that the coordinator knows by which key they are signed
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
                await self._publish(self._status(online=False))

    async def _publish(self, status: Status) -> None:
        await self._link.publish(self._topics[UpChannel.STATUS], self._pack(status), retain=True)

    def _will(self) -> Will:
        """For a new connection, by a certificate that may not be the last one's."""
        try:
            self._signer.renew()
        except ConfigError as error:
            self._log.error("the previous key goes on signing", problem=str(error))
        return Will(self._topics[UpChannel.STATUS], self._pack(self._status(online=False)))

    def _pack(self, message: Up | Status) -> bytes:
        return self._signer.sign(pack_up(message))

    def _status(self, *, online: bool) -> Status:
        return self._statuses.next(
            self._config,
            online=online,
            lacks=self._raw_lacks,
            not_now=self._in_force.allowed()[1],
            held=self._renewal.held,
            connections=self._link.connections,
        )
