"""The coordinator: one task tree around one broker, one store and the state of the estate."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import structlog

from coordinator import pki, tasks
from coordinator.broker import EmbeddedBroker, Listen
from coordinator.collect import Collector
from coordinator.echo import Echo
from coordinator.estate import Estate
from coordinator.orders import Controls
from coordinator.post import Postman
from coordinator.rounds import Engine
from coordinator.runs import Runs
from coordinator.scheduler import Scheduler
from coordinator.store import KEEP_PACKETS_S, KEEP_ROUNDS_S, Store
from coordinator.views import iso
from coordinator.watch import Watch
from coordinator.web import Api
from reachability.life import Event
from reachability.topology import Topology
from wire.messages import VERSION
from wire.mqtt import Link
from wire.topics import all_up

SILENT_S = 65.0  # an agent says its status every 20 s
REVIEW_S = 5.0
SWEEP_OUT_S, CLEAR_OUT_S = 3600.0, 60.0

log = structlog.get_logger("coordinator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line or the configuration file says."""

    topology: Path
    pki: Path
    listen: Listen
    state_dir: Path
    web: Listen | None = None


class Daemon:
    """The coordinator of one state directory. `run` returns after `stop`; what it cannot live without raises."""

    def __init__(self, settings: Settings, topology: Topology) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._plans_wanted: set[str] = set()
        self._plan_wanted = asyncio.Event()
        key = pki.load_signing_key(settings.pki)
        self.store = Store(settings.state_dir)
        self.estate = Estate(topology, self.store, time.time)
        self.broker = EmbeddedBroker(
            topology,
            settings.pki,
            settings.state_dir,
            settings.listen,
            log=lambda problem: log.error("broker", problem=problem),
        )
        self.link = Link(
            self.broker.endpoint(),
            subscriptions=all_up(),
            name="coordinator",
            log=lambda problem: log.warning("not connected to the broker", problem=problem),
        )
        self.post = Postman(self.link, key, self.store, self._environment, time.time)
        self._echo = Echo()
        self._controls = Controls(addresses_of(settings.listen), settings.listen.port)
        self.engine = Engine(self.estate, self.post, self._echo, lambda: self._controls, events=self._tell)
        self.runs = Runs(self.estate, self.engine)
        self.watch = Watch(settings.topology, topology, self._take_topology, time.time)
        self._collector = Collector(self.estate, self.engine, self.post, self._want_plan)
        self._scheduler = Scheduler(
            self.estate, self.engine.cycle, held=lambda: "verify" if self.runs.active else self.engine.stopped
        )
        self._api = Api(self)

    def stop(self) -> None:
        """End in good order, soon."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until `stop`; StoreError, PkiError, BrokerError and OSError say why it cannot."""
        try:
            await self.broker.start()
            listening = await self._echo.listen(self._controls.addresses, self._controls.port)
            self._controls = replace(self._controls, echo=frozenset(listening))
            await self._echo.accept(
                [a for a in self._controls.addresses if a != self._settings.listen.dial], self._controls.port
            )
            async with self._api.serving(self._settings.state_dir, self._settings.web), self.link:
                log.info(
                    "coordinator serves",
                    version=VERSION,
                    listen=f"{self._settings.listen.host} port {self._settings.listen.port}",
                    agents=len(self.estate.agents),
                    targets=len(self.estate.plan),
                )
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(self._collector.run(self.link), name="collect"),
                        group.create_task(self._collector.acknowledge(), name="acknowledge"),
                        group.create_task(self._send_plans(), name="plans"),
                        group.create_task(self._keep_house(), name="house"),
                        group.create_task(self._scheduler.run(), name="schedule"),
                        group.create_task(self.runs.serve(), name="verify runs"),
                        group.create_task(self.watch.run(), name="topology file"),
                    ]
                    await self._stopping.wait()
                    for task in tasks:
                        task.cancel()
        finally:
            self._echo.close()
            await self.broker.stop()
            self.store.close()
        log.info("coordinator ended")

    def more_status(self) -> dict[str, Any]:
        """What only the daemon knows, for the API's status."""
        refused = self.watch.refused
        web = self._settings.web
        return {
            "version": VERSION,
            "started": iso(self.estate.started),
            "topology_loaded": iso(self.watch.loaded_at),
            "topology_refused": {"at": iso(refused.at), "errors": list(refused.errors)} if refused else None,
            "broker": {"connected": self.link.connected, "problem": self.link.problem or None},
            "stopped": self.engine.stopped or None,
            "web": f"http://{f'[{web.dial}]' if ':' in web.dial else web.dial}:{web.port}" if web else None,
        }

    def _environment(self, agent: str) -> str | None:
        return self.estate.topology.agents().get(agent)

    async def _take_topology(self, topology: Topology) -> None:
        self.estate.take_topology(topology)
        await self.broker.reload(topology)
        self._tell(self.estate.review())
        for name, state in self.estate.agents.items():
            if state.online:
                self._want_plan(name)

    def _want_plan(self, agent: str) -> None:
        self._plans_wanted.add(agent)
        self._plan_wanted.set()

    async def _send_plans(self) -> None:
        while True:
            await self._plan_wanted.wait()
            self._plan_wanted.clear()
            while self._plans_wanted:
                agent = self._plans_wanted.pop()
                if agent in self.estate.agents:
                    await self.post(agent, tasks.plan_for(self.estate.topology, self.estate.plan, agent))

    async def _keep_house(self) -> None:
        """Agents that have gone silent, cells that grow stale, waivers that end, rounds that are old."""
        swept_at = cleared_at = time.monotonic()
        while True:
            await asyncio.sleep(REVIEW_S)
            now = self.estate.clock()
            for name, state in self.estate.agents.items():
                if state.online and now - state.last_seen > SILENT_S:
                    self.estate.agents[name] = replace(state, online=False)
                    log.warning("agent is silent", name=name, seconds=round(now - state.last_seen))
            self._tell(self.estate.review())
            if time.monotonic() - swept_at > SWEEP_OUT_S:
                swept_at = time.monotonic()
                self.store.forget_before(now - KEEP_ROUNDS_S, self.estate.standing())
            if time.monotonic() - cleared_at > CLEAR_OUT_S:
                cleared_at = time.monotonic()
                self.store.forget_packets(now - KEEP_PACKETS_S, self.estate.standing())

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            log.info("finding", id=event.finding, what=event.what, text=event.text)


def addresses_of(listen: Listen) -> tuple[str, ...]:
    """Where agents' source controls may reach this coordinator: the address it listens on, and others beside it.

    Those of the same interface answer in the other family; where it listens on all, all of them.
    """
    interfaces = [
        [address.address for address in addresses if _is_global(address.address)]
        for addresses in psutil.net_if_addrs().values()
    ]
    if listen.host == listen.dial:
        if not _is_global(listen.host):
            return (listen.host,)
        beside = [address for own in interfaces if listen.host in own for address in own]
        return tuple(dict.fromkeys((listen.host, *beside)))
    return tuple(dict.fromkeys(address for own in interfaces for address in own))


def _is_global(address: str) -> bool:
    with contextlib.suppress(ValueError):
        parsed = ip_address(address)
        return not (parsed.is_loopback or parsed.is_link_local)
    return False


async def serve(settings: Settings, topology: Topology) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP loads the topology again."""
    daemon = Daemon(settings, topology)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop)
    loop.add_signal_handler(signal.SIGHUP, daemon.watch.look)
    await daemon.run()
