"""The coordinator: one task tree around one broker, one store and the state of the estate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

import structlog

from coordinator.api.app import Api, Served
from coordinator.api.responses.status import Status
from coordinator.api.status import status_of
from coordinator.broker import pki
from coordinator.broker.authority import Authority
from coordinator.broker.capabilities import BrokerCheck, Lack
from coordinator.broker.external import broker_of
from coordinator.broker.issuing import Ends, Renewals, Revocations
from coordinator.broker.own import OwnCertificates
from coordinator.broker.rotation import Rotation
from coordinator.broker.watchdog import Watchdog
from coordinator.clock import WatchedClock
from coordinator.json_types import iso
from coordinator.messaging.coming_over import follow
from coordinator.messaging.door import Door
from coordinator.messaging.joins import Joins
from coordinator.messaging.lease import Plans
from coordinator.messaging.receiver import Receiver
from coordinator.messaging.sender import Sender
from coordinator.messaging.signers import Signers
from coordinator.rounds.control_points import ControlPoints
from coordinator.rounds.engine import Engine
from coordinator.rounds.scheduler import Scheduler
from coordinator.rounds.verify_runs import Runs
from coordinator.settings import Settings
from coordinator.state.estate import Estate
from coordinator.state.in_force import put_in_force
from coordinator.store import Store
from coordinator.topology.reload import Watch
from reachability.life import Event, EventKind
from reachability.topology import Topology
from wire.keyfiles import check_directory
from wire.messages import VERSION
from wire.mqtt import Link
from wire.process.progress import Progress
from wire.topics import all_up

SILENT_S = 65.0  # an agent sends its status every 20 s
REVIEW_S = 5.0
FORGET_S = 60.0  # a little each minute holds nobody up

log = structlog.get_logger("coordinator")


class Daemon:
    """The coordinator of one state directory. `run` returns after `stop`; what it cannot do without raises."""

    def __init__(self, settings: Settings, topology: Topology) -> None:
        self._settings = settings
        self._stopping, self.serving = asyncio.Event(), asyncio.Event()
        self.progress = Progress()
        key = pki.load_signing_key(settings.pki)
        check_directory(settings.state_dir)
        self.store = Store(settings.state_dir)
        clock = WatchedClock()
        self.estate = Estate(topology, self.store, clock, plan=())  # until `run` makes it
        clock.stepped.append(self.estate.clock_stepped)
        self._revocations = Revocations(settings.pki, self.estate.generations, self._revoke)
        self._tell(self.estate.revoke(self._revocations.held))
        self.broker = broker_of(
            settings.broker, topology, settings.pki, settings.state_dir, settings.listen, self._revocations.held,
            settings.nats_server,
        )  # fmt: skip
        self._own = OwnCertificates(settings.pki, self.broker)
        self._rotation = Rotation(settings.pki, self._rotate)
        self._signers = Signers(self._rotation.held.pem, clock, self._generation)
        self._lacks: tuple[Lack, ...] | None = None  # what the broker cannot do, once that was tried
        self.link = Link(
            self.broker.endpoint(),
            subscriptions=all_up(),
            name="coordinator",
            log=lambda problem: log.warning("not connected to the broker", problem=problem),
        )
        self._watchdog = Watchdog(self.link, self.broker.restart, time.monotonic)
        self.post = Sender(self.link, key, self.store, self._environment, self._challenge, clock)
        self._points = ControlPoints(settings.listen, settings.advertise, settings.broker)
        self.engine = Engine(
            self.estate, self.post, self._points.echo, lambda: self._points.controls, events=self._tell
        )
        self.engine.brake.newest = lambda: self.post.newest
        self._plans = Plans(self.estate, self.post, lambda: self.engine.stopped, lambda: self._rotation.trust)
        self.runs = Runs(self.estate, self.engine)
        self.watch = Watch(settings.topology, topology, self._take_topology, clock)
        self.door = Door(self.estate, self.broker.reload)
        self._renewals = Renewals(
            settings.pki,
            self.post,
            generation_of=self._generation,
            told=lambda agent, until: self._tell(self.estate.renewed(agent, until)),
            clock=clock,
            life=settings.certificate_life,
        )
        self._ends = Ends()
        self._receiver = Receiver(
            self.estate,
            self.engine,
            self.post,
            self._signers,
            self._plans.want,
            self._renewals.ask,
            floods=self.door.floods,
        )
        self._scheduler = Scheduler(
            self.estate,
            self.engine.cycle,
            held=lambda: "verify" if self.runs.active else self.engine.stopped,
            sleep=self.progress.sleeping("the schedule"),
        )
        self._api = Api(
            Served(
                estate=self.estate,
                engine=self.engine,
                runs=self.runs,
                floods=self.door.floods,
                refused=self._receiver.refused,
                connected=lambda: self.link.connected,
                status=self.status,
                certificates=self.own_certificates,
            )
        )

    def stop(self) -> None:
        """End in good order, soon."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until `stop`; StoreError, PkiError, BrokerError and OSError say why it cannot."""
        try:
            await self._own.care(self.estate.now())  # it may have ended while this coordinator was off
            await put_in_force(self.estate.topology, self.estate)
            await self.broker.start()
            await self.post.reserve()
            await self._points.open(self._settings.pki)
            async with self._api.serving(self._settings), self.link:
                listen = f"{self._settings.listen.host} port {self._settings.listen.port}"
                agents, targets = len(self.estate.agents), len(self.estate.plan)
                log.info("coordinator serves", version=VERSION, listen=listen, agents=agents, targets=targets)
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(self._check_broker(), name="broker check"),
                        group.create_task(self._receiver.run(self.link), name="collect"),
                        group.create_task(self._plans.run(), name="plans"),
                        group.create_task(self._housekeeping(), name="housekeeping"),
                        group.create_task(self._reviews(), name="reviews"),
                        group.create_task(self.post.run(), name="sequences"),
                        group.create_task(self.door.run(), name="floods"),
                        group.create_task(self._scheduler.run(), name="schedule"),
                        group.create_task(self.runs.serve(), name="verify runs"),
                        group.create_task(self.engine.judging.run(), name="judging"),
                        group.create_task(self.watch.run(), name="topology file"),
                        group.create_task(self._revocations.run(), name="revocations"),
                        group.create_task(self._renewals.run(), name="renewals"),
                        group.create_task(self._rotation.run(), name="rotation of the CA"),
                        group.create_task(Joins(self._settings, self.broker, self.estate).run(), name="joins"),
                    ]
                    self.serving.set()
                    await self._stopping.wait()
                    for task in tasks:
                        task.cancel()
                await self.engine.judging.catch_up()  # what came late, or was cut off just now
        finally:
            self._points.close()
            await self.broker.stop()
            self.engine.brake.end()
            self.estate.end()
            self.store.close()
        log.info("coordinator ended")

    def status(self) -> Status:
        """The API's status: what stands, and what only the daemon knows."""
        return status_of(
            self.estate,
            self._settings,
            watch=self.watch,
            link=self.link,
            lacks=self._lacks,
            brake=self.engine.brake,
            floods=self.door.floods,
            refusals=self._receiver.refusals,
            certificates=self.own_certificates(),
        )

    def own_certificates(self) -> dict[str, tuple[float, float]]:
        """Holder to from when until when its certificate is valid, epoch seconds."""
        web = self._api.certificate
        return {**self._own.valid(), **({"web": web} if any(web) else {})}

    def _environment(self, agent: str) -> str | None:
        return self.estate.topology.agents().get(agent)

    def _challenge(self, agent: str) -> bytes:
        return self.estate.agents[agent].challenge if agent in self.estate.agents else b""

    def _generation(self, agent: str) -> int:
        return self.estate.generations.get(agent, 0)

    async def _check_broker(self) -> None:
        """Say what the broker lacks; BrokerError, which ends the coordinator, when it cannot be used."""
        check = BrokerCheck(self.broker.endpoint(), self.estate.topology, self._settings.pki, self.post)
        self._receiver.own = lambda payload: payload in check.sent_up
        self._lacks = await check.run()
        log.info("the broker was tried", lacks=[lack.name for lack in self._lacks])
        for lack in self._lacks:
            log.warning("the broker lacks", name=lack.name, text=lack.text)

    async def _take_topology(self, topology: Topology) -> None:
        await put_in_force(topology, self.estate)
        await self.door.let_in()
        self._say_plans()
        self._tell(await self.estate.review())

    def _say_plans(self) -> None:
        for name, state in self.estate.agents.items():
            if state.online:
                self._plans.want(name)

    async def _revoke(self, generations: Mapping[str, int]) -> None:
        await self.broker.revoke(generations)
        self._tell(self.estate.revoke(generations))

    async def _rotate(self, trust: Authority) -> None:
        """Other CAs are trusted from now on; who is there hears of it with its plan, and renews."""
        self._signers.trust(trust.pem)
        self._own.trust(trust)
        await self._own.care(self.estate.now())
        await self.broker.trust(finished=not trust.rotates)
        self._say_plans()

    async def _housekeeping(self) -> None:
        """Agents that have gone silent, blackouts that begin, the broker, certificates that end."""
        while True:
            await self.progress.sleeping("housekeeping")(REVIEW_S)
            now = self.estate.clock()
            for name, state in self.estate.agents.items():
                if state.online and now - state.last_seen > SILENT_S:
                    self.estate.agents[name] = replace(state, online=False)
                    log.warning("agent is silent", name=name, seconds=round(now - state.last_seen))
            await self.engine.brake.look()
            await self._care()
            follow(self._rotation, self.estate.agents)
            self._warn_of_ends(now)

    async def _reviews(self) -> None:
        """Cells that grow stale, waivers that end, rounds that are old. What takes long here holds up no stop."""
        forgot_at = time.monotonic()
        while True:
            await self.progress.sleeping("reviews")(REVIEW_S)
            self._tell(await self.estate.review())
            if time.monotonic() - forgot_at > FORGET_S:
                forgot_at = time.monotonic()
                await self.estate.forget()

    async def _care(self) -> None:
        self.broker.take_up()
        self.broker.look_at_disk()
        self._watchdog.look()
        await self._own.care(self.estate.now())

    def _warn_of_ends(self, now: float) -> None:
        agents = {name: state.certificate for name, state in self.estate.agents.items() if not state.revoked}
        for holder, ends in self._ends.due({**self.own_certificates(), **agents}, now):
            log.warning("a certificate ends soon", holder=holder, ends=iso(ends), days=round((ends - now) / 86400, 1))

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.agent:
                say = log.warning if event.what is EventKind.REVOKED else log.info
                say("certificate", agent=event.agent, what=event.what, text=event.text)
            else:
                log.info("finding", id=event.finding, what=event.what, text=event.text)
