"""Clusters of three, one node killed under load: everything that agents spooled is in the store, exactly once.

Both sides are the product's own: the agent's daemon with its spool, outbox and link, the coordinator's receiver and store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from agent.config import AgentConfig
from agent.daemon import Daemon
from coordinator.broker import pki
from coordinator.broker.addresses import Listen
from coordinator.broker.capabilities import BrokerCheck
from coordinator.broker.external import ExternalBroker
from coordinator.messaging.receiver import Receiver
from coordinator.messaging.sender import Sender
from coordinator.messaging.signers import Signers
from coordinator.rounds.control_echo import Echo
from coordinator.rounds.engine import Engine
from coordinator.rounds.requests import Controls
from coordinator.state.estate import Estate
from coordinator.store import Store, Taken, strays
from reachability.observation import SourceReport
from reachability.topology import Topology
from tests.loopback import brokers
from tests.loopback.agents import agent, configure
from tests.loopback.brokers import Node
from tests.loopback.estate import Site, estate
from tests.support.ports import free_port
from wire.mqtt import Link, NotConnected

pytestmark = [pytest.mark.soak, pytest.mark.timeout(540)]

AGENTS = ("dev-1", "dev-2", "prod-1", "prod-2")
BEFORE_S, AFTER_S, PAUSE_S = 10.0, 15.0, 0.01  # of load, around the kill; a batch a pause from each agent
LEAST = 100  # batches in the store before one is killed
SETTLED_S = 300.0  # what was sent while nobody heard it is sent again after pauses of up to a minute


class CountingStore(Store):
    """The store, with a count of what came to it and when."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self.taken = self.new = 0
        self.times: list[float] = []

    def take(self, *args: Any, **more: Any) -> Taken:
        taken = super().take(*args, **more)
        self.taken += 1
        if taken.new:
            self.new += 1
            self.times.append(time.monotonic())
        return taken

    def held(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT round, COUNT(*) FROM reports GROUP BY round"))


@dataclass
class Tally:
    """What agents handed to the broker."""

    put: set[str] = field(default_factory=set)
    published = confirmed = failed = 0

    def watch(self, link: Link) -> None:
        publish = link.publish

        async def counted(topic: str, payload: bytes, *, retain: bool = False) -> None:
            observations = topic.endswith("/observations")
            self.published += observations
            try:
                await publish(topic, payload, retain=retain)
            except NotConnected:
                self.failed += observations
                raise
            self.confirmed += observations

        link.publish = counted  # type: ignore[method-assign]


@dataclass
class Middle:
    """The coordinator's half that receives, stores and acknowledges."""

    link: Link
    store: CountingStore
    post: Sender
    receiver: Receiver

    def node(self, nodes: Sequence[Node]) -> Node:
        """The node that it is connected to."""
        assert self.link._client is not None
        sock: Any = self.link._client._client._sock
        return next(node for node in nodes if node.port == sock.getpeername()[1])


@contextlib.asynccontextmanager
async def middle(site: Site, topology: Topology, url: str) -> AsyncIterator[Middle]:
    endpoint = ExternalBroker(topology, site.pki, url, Listen("127.0.0.1", 1)).endpoint()
    store = CountingStore(site.directory / "coordinator")
    state = Estate(topology, store, time.time)
    link = Link(
        endpoint, subscriptions=("segwatch/v1/+/+/up/observations", "segwatch/v1/+/+/up/status"), name="coordinator"
    )
    challenges = lambda agent: state.agents[agent].challenge  # noqa: E731 - a line
    post = Sender(link, pki.load_signing_key(site.pki), store, topology.agents().get, challenges, time.time)
    engine = Engine(state, post, Echo(), lambda: Controls(()))
    signers = Signers((site.pki / "ca.pem").read_bytes(), time.time)
    receiver = Receiver(state, engine, post, signers, lambda _: None, lambda *_: None)
    with contextlib.closing(store):
        async with link, asyncio.TaskGroup() as group:
            async with asyncio.timeout(60):
                await link.wait_connected()
                lacks = await BrokerCheck(endpoint, topology, site.pki, post).run()
            print("lacks:", ", ".join(lack.name for lack in lacks) or "nothing")
            task = group.create_task(receiver.run(link), name="collect")
            yield Middle(link, store, post, receiver)
            task.cancel()


def configured(site: Site, name: str, url: str) -> tuple[AgentConfig, Path]:
    directory = site.directory / f"agent-{name}"
    return configure(site, directory, name=name, url=url), directory


async def load(daemon: Daemon, name: str, tally: Tally, over: asyncio.Event) -> None:
    number = 0
    while not over.is_set():
        number += 1
        report = SourceReport(round=f"{name}-{number}", agent=name)
        assert daemon._outbox.put(report, daemon._log), "the spool took it"
        tally.put.add(report.round)
        await asyncio.sleep(PAUSE_S)


async def one_node_killed(site: Site, topology: Topology, nodes: Sequence[Node]) -> None:
    url = "mqtts://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    tally = Tally()
    async with middle(site, topology, url) as ours, AsyncExitStack() as stack:
        stack.enter_context(patch.object(strays, "MOST_REPORTS", 10**6))  # nobody begins the rounds of this load
        daemons = {}
        for name in AGENTS:
            daemons[name] = await stack.enter_async_context(agent(*configured(site, name, url)))
            tally.watch(daemons[name]._link)
        async with asyncio.timeout(60):
            for daemon in daemons.values():
                await daemon._link.wait_connected()
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for name, daemon in daemons.items():
                group.create_task(load(daemon, name, tally, over), name=f"load {name}")
            await asyncio.sleep(BEFORE_S)
            async with asyncio.timeout(SETTLED_S):
                while len(ours.store.times) <= LEAST:  # noqa: ASYNC110 - it runs, however slowly, before one is killed
                    await asyncio.sleep(0.2)
            victim = ours.node(nodes)
            lost = sum(daemon._link.connected for daemon in daemons.values())
            victim.kill()
            killed, before = time.monotonic(), len(ours.store.times)
            await asyncio.sleep(AFTER_S)
            over.set()
        ended = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_S):
                while any(len(daemon._spool) for daemon in daemons.values()):  # noqa: ASYNC110 - a spool tells nobody
                    await asyncio.sleep(0.2)
        settled = time.monotonic()
        held, store = ours.store.held(), ours.store
        left = {name: len(daemon._spool) for name, daemon in daemons.items()}
        gaps = {name: daemon._spool.gap for name, daemon in daemons.items()}
    first = store.times[before] if before < len(store.times) else settled
    gap = max(later - sooner for sooner, later in zip(store.times, store.times[1:], strict=False))
    print(
        f"spooled {len(tally.put)}, published {tally.published} (confirmed {tally.confirmed}, not confirmed {tally.failed}),"
        f" received {store.taken}, held {len(held)}, duplicates dropped {store.taken - store.new};"
        f" lost by the cluster though confirmed: at least {max(0, tally.confirmed - store.taken)};"
        f" longest gap {gap:.1f} s, first after the kill {first - killed:.1f} s, all held {settled - ended:.1f} s"
        f" after the load ended; {lost} agents were connected"
    )
    assert len(tally.put) > 1000, "there was load"
    assert (left, gaps) == (dict.fromkeys(AGENTS, 0), dict.fromkeys(AGENTS, 0))
    assert held == dict.fromkeys(tally.put, 1), "each exactly once"


def joined(nodes: Sequence[Node], clusters: Sequence[int]) -> None:
    """NATS: each knows the others, and MQTT's streams are on all three."""
    routes = [f"nats://127.0.0.1:{port}" for port in clusters]
    for number, (node, port) in enumerate(zip(nodes, clusters, strict=True), 1):
        conf = node.directory / "nats.conf"
        text = conf.read_text().replace('server_name: "segwatch"', f'server_name: "node-{number}"')
        text = text.replace(
            '"max_ack_pending": 200', '"max_ack_pending": 200, "stream_replicas": 3, "consumer_replicas": 3'
        )
        cluster = json.dumps({"name": "segwatch", "listen": f"127.0.0.1:{port}", "routes": routes})
        conf.write_text(f"{text}cluster: {cluster}\n")
        assert "stream_replicas" in text


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr("coordinator.store.strays.MOST_REPORTS", 10**6)  # the rounds are made up here
    return Site(tmp_path)


@pytest.mark.asyncio
async def test_nats_with_one_of_three_killed_loses_nothing(site: Site) -> None:
    topology = estate(*AGENTS)
    nodes = [brokers.nats(topology, site.pki, site.directory / f"node-{number}") for number in (1, 2, 3)]
    joined(nodes, [free_port() for _ in nodes])
    with brokers.running(*nodes):
        await one_node_killed(site, topology, nodes)


@contextlib.contextmanager
def rabbits(site: Site, topology: Topology) -> Iterator[list[Node]]:
    names = ("rabbit1", "rabbit2", "rabbit3")
    (site.directory / "epmd").mkdir()
    with brokers.port_mapper(site.directory / "epmd") as mapper:
        nodes = [brokers.rabbitmq(topology, site.pki, site.directory / name, mapper, name=name) for name in names]
        for node in nodes:
            with (node.directory / "rabbitmq.conf").open("a") as conf:
                conf.write("cluster_formation.peer_discovery_backend = classic_config\n")
                conf.writelines(
                    f"cluster_formation.classic_config.nodes.{number} = {name}@localhost\n"
                    for number, name in enumerate(names, 1)
                )
                conf.write("cluster_partition_handling = pause_minority\n")
        with brokers.running(*nodes):
            yield nodes


@pytest.mark.asyncio
async def test_rabbitmq_with_one_of_three_killed_loses_nothing(site: Site) -> None:
    topology = estate(*AGENTS)
    with rabbits(site, topology) as nodes:
        async with asyncio.timeout(60):
            while not all(_sees_both_others(node) for node in nodes):  # noqa: ASYNC110 - it has no event for it
                await asyncio.sleep(0.2)
        await one_node_killed(site, topology, nodes)


def _sees_both_others(node: Node) -> bool:
    """Whether a node's log says that the others are up or in its cluster."""
    others = {f"rabbit{number}@localhost" for number in (1, 2, 3)} - {f"{node.directory.name}@localhost"}
    text = (node.directory / "log").read_text(errors="replace")
    return all(other in text for other in others)
