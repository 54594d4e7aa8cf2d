"""Brokers that an operator runs, each really started with what `segwatch pki broker` writes: NATS, Mosquitto, RabbitMQ."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from coordinator.broker import capabilities, pki
from coordinator.broker.addresses import Listen
from coordinator.broker.capabilities import BrokerCheck
from coordinator.broker.embedded import BrokerError
from coordinator.broker.external import ExternalBroker
from coordinator.messaging.sender import Sender
from coordinator.store import Store
from tests.loopback import brokers
from tests.loopback.brokers import Node
from tests.loopback.estate import Site, connected, estate
from tests.loopback.halfbroker import ACCEPTED, CONNECT, SUBSCRIBE, WRONG_PROTOCOL, Peer, half_broker
from tests.support.waiting import HANG_S
from wire.dial import Broker
from wire.messages import Ack
from wire.mqtt import Link, Message, NotConnected, Will
from wire.topics import all_down

LACKS = {"nats": set(), "mosquitto": {"suback"}, "rabbitmq": {"suback", "retained-wildcard"}}
# The check alone says most of RabbitMQ: the rest of what is tried on it takes a minute.
KINDS = ["mosquitto", "nats", pytest.param("rabbitmq", marks=pytest.mark.soak)]
OWN, FOREIGN = "segwatch/v1/dev/dev-1/up/round", "segwatch/v1/prod/prod-1/up/round"


@dataclass
class Served:
    """A site whose broker is an external one."""

    site: Site
    node: Node

    def endpoint(self) -> Broker:
        broker = ExternalBroker(self.site.topology, self.site.pki, self.node.url, Listen("127.0.0.1", 1))
        return broker.endpoint()

    def credentials(self, environment: str, name: str) -> Broker:
        held = self.site.credentials(f"{environment}-{name}" if environment != name.partition("-")[0] else name)
        issued = pki.issue_agent(self.site.pki, environment, name, brokers.now())
        held.certificate.write_bytes(issued.certificate)
        held.key.write_bytes(issued.key)
        return replace(held, port=self.node.port)

    async def check(self) -> dict[str, str]:
        """Name to text of what lacks."""
        endpoint, topology = self.endpoint(), self.site.topology
        store = Store(self.site.directory / f"store-{time.monotonic_ns()}")
        with contextlib.closing(store):
            async with Link(endpoint) as link:
                key = pki.load_signing_key(self.site.pki)
                post = Sender(link, key, store, topology.agents().get, lambda _: b"", time.time)
                async with asyncio.timeout(HANG_S):
                    await link.wait_connected()
                    lacks = await BrokerCheck(endpoint, topology, self.site.pki, post).run()
        return {lack.name: lack.text for lack in lacks}


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for all tests: it takes ten seconds to start."""
    directory = tmp_path_factory.mktemp("rabbit")
    site = Site(directory)
    (directory / "epmd").mkdir()
    with brokers.port_mapper(directory / "epmd") as mapper:
        node = brokers.rabbitmq(site.topology, site.pki, directory / "node", mapper)
        with brokers.running(node):
            yield Served(site, node)


@pytest.fixture
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    if request.param == "rabbitmq":
        yield request.getfixturevalue("rabbit")
        return
    site = Site(tmp_path)
    node = getattr(brokers, request.param)(site.topology, site.pki, tmp_path / "node")
    with brokers.running(node):
        yield Served(site, node)


each_broker = pytest.mark.parametrize("served", KINDS, indirect=True)


async def heard(link: Link, last: bytes) -> list[Message]:
    """Everything until the last, and for half a second more."""
    seen: list[Message] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HANG_S) as limit:
            async for message in link.messages():
                message.done()
                seen.append(message)
                if message.payload == last:
                    limit.reschedule(asyncio.get_running_loop().time() + 0.5)
    return seen


@pytest.mark.asyncio
@pytest.mark.parametrize(("served", "lacks"), LACKS.items(), indirect=["served"])
async def test_each_is_tried_and_what_it_lacks_is_named(served: Served, lacks: set[str]) -> None:
    assert set(await served.check()) == lacks
    assert not list(served.site.pki.glob(".check-*")), "the key of the check is gone"


@each_broker
@pytest.mark.asyncio
async def test_an_agent_writes_its_own_topics_only_and_so_does_its_last_will(served: Served) -> None:
    async with Link(served.endpoint(), subscriptions=("segwatch/#",)) as middle:
        await connected(middle)
        credentials = served.credentials("dev", "dev-1")
        for topic in (FOREIGN, OWN):
            will = Will(topic, b"will of " + topic.encode(), retain=False)
            async with Link(credentials, subscriptions=all_down("dev", "dev-1"), will=lambda will=will: will) as agent:  # type: ignore[misc]
                await connected(agent)
                for forged in (FOREIGN, "segwatch/v1/dev/dev-1/down/plan", "other"):
                    with contextlib.suppress(NotConnected):  # RabbitMQ hangs up
                        await agent.publish(forged, b"forged")
                await connected(agent)
                await agent.publish(OWN, b"own")
                agent._client._client._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
                await agent.wait_connected(after=agent.connections)
        seen = {(message.topic, message.payload) for message in await heard(middle, b"will of " + OWN.encode())}
        assert seen == {(OWN, b"own"), (OWN, b"will of " + OWN.encode())}


@each_broker
@pytest.mark.asyncio
async def test_what_is_for_one_agent_comes_to_no_other(served: Served) -> None:
    middle = Link(served.endpoint())
    agent = Link(served.credentials("dev", "dev-1"), subscriptions=all_down("dev", "dev-1"))
    curious = [
        Link(served.credentials("dev", "dev-1"), subscriptions=(topic,))
        for topic in ("segwatch/v1/prod/prod-1/down/plan", "segwatch/#", "segwatch/v1/+/+/down/plan")
    ]
    # One with a certificate of the CA that is in no topology, and is named like the coordinator.
    curious.append(Link(served.credentials("dev", "coordinator"), subscriptions=("segwatch/#",)))
    async with contextlib.AsyncExitStack() as stack:
        for link in (middle, agent, *curious):
            await stack.enter_async_context(link)
        await connected(middle, agent)
        await asyncio.sleep(0.5)  # those who are let in are in
        await middle.publish("segwatch/v1/prod/prod-1/down/plan", b"secret")
        await middle.publish("segwatch/v1/dev/dev-1/down/plan", b"for dev-1")
        assert [message.payload for message in await heard(agent, b"for dev-1")] == [b"for dev-1"]
        # What dev-1 may read may come to it by a wildcard: Mosquitto looks at each message.
        seen = {link._incoming.get_nowait().payload for link in curious for _ in range(link._incoming.qsize())}
        assert seen <= {b"for dev-1"}
        assert not curious[-1]._incoming.qsize()


@each_broker
@pytest.mark.asyncio
async def test_a_certificate_of_another_ca_is_not_let_in(served: Served, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Site(tmp_path / "other").credentials("dev-1")
    forged = replace(other, port=served.node.port, ca=served.site.pki / "ca.pem")
    said: asyncio.Queue[str] = asyncio.Queue()
    async with asyncio.timeout(HANG_S), Link(forged, log=said.put_nowait) as link:
        await said.get()
        assert link.connections == 0


# -- brokers that cannot be used ----------------------------------------------------------------------------------


def change(node: Node, *pairs: tuple[str, str]) -> None:
    for path in node.directory.glob("*.conf"):
        text = path.read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("acl_file", "# acl_file", r"lets agent dev-1 publish in the name of prod-1: its access rules are not in force\. .* segwatch pki broker"),
        ("max_packet_size 4259840", "max_packet_size 1100000", "carries messages of 1048576 bytes and no more, and agents send up to 4194304: raise"),
    ],
)  # fmt: skip
async def test_what_segwatch_cannot_do_without_ends_it_in_words(tmp_path: Path, old: str, new: str, words: str) -> None:
    site = Site(tmp_path)
    node = brokers.mosquitto(site.topology, site.pki, tmp_path / "node")
    change(node, (old, new))
    with brokers.running(node), pytest.raises(BrokerError, match=words):
        await Served(site, node).check()


@pytest.mark.asyncio
async def test_rules_that_let_an_agent_read_everything_end_it(tmp_path: Path) -> None:
    site = Site(tmp_path)
    node = brokers.mosquitto(site.topology, site.pki, tmp_path / "node")
    with (node.directory / "acl").open("a") as acl:
        acl.write("\npattern read segwatch/#\n")
    with brokers.running(node), pytest.raises(BrokerError, match="lets agent dev-1 read what is for prod-1"):
        await Served(site, node).check()


@pytest.mark.asyncio
async def test_a_coordinator_that_may_not_subscribe_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "ANSWER_S", 1.0)
    site = Site(tmp_path)
    node = brokers.nats(site.topology, site.pki, tmp_path / "node")
    change(
        node,
        ('"user": "segwatch://coordinator"', '"user": "segwatch://coordinator", "permissions": {"subscribe": ["a"]}'),
    )
    with brokers.running(node), pytest.raises(BrokerError, match="the broker refuses the subscription to segwatch/"):
        await Served(site, node).check()


@pytest.mark.asyncio
async def test_an_agent_that_the_broker_does_not_know_is_named(tmp_path: Path) -> None:
    site = Site(tmp_path)
    node = brokers.nats(estate("prod-1"), site.pki, tmp_path / "node")
    with brokers.running(node):
        lacks = await Served(site, node).check()
    assert set(lacks) == {"agent"}
    assert lacks["agent"].startswith("agent dev-1 is not let in: broker 127.0.0.1 port ")


@pytest.mark.asyncio
async def test_one_that_hangs_up_on_everybody_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "ANSWER_S", 1.0)
    site = Site(tmp_path)

    async def serve(peer: Peer) -> None:
        assert await peer.packet() == CONNECT
        await peer.say(WRONG_PROTOCOL)

    async def post(_: str, __: Ack) -> None:
        raise AssertionError

    async with half_broker(site, serve):
        check = BrokerCheck(site.broker.endpoint(), site.topology, site.pki, post)
        with pytest.raises(BrokerError, match=r"does it speak MQTT 3.1.1\?\. Its configuration is written by"):
            await check.run()


@pytest.mark.asyncio
async def test_the_coordinator_answers_controls_where_this_machine_is_only(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with pytest.raises(BrokerError, match=r"the coordinator cannot listen on 192\.0\.2\.77: Cannot assign"):
        await ExternalBroker(site.topology, site.pki, "mqtts://127.0.0.1:1", Listen("192.0.2.77", 8883)).start()


@pytest.mark.asyncio
async def test_one_that_refuses_for_a_moment_does_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a NATS cluster does while it chooses its leaders: what is heard next is the loopback that does not come."""
    monkeypatch.setattr(capabilities, "ANSWER_S", HANG_S)
    site, refusals = Site(tmp_path), iter((b"\x80", b"\x80"))

    async def serve(peer: Peer) -> None:
        assert await peer.packet() == CONNECT
        await peer.say(ACCEPTED)
        number = 0
        while await peer.packet() == SUBSCRIBE:
            number += 1
            await peer.say(b"\x90\x03" + number.to_bytes(2) + next(refusals, b"\x01"))

    async def post(_: str, __: Ack) -> None:
        raise AssertionError

    async with half_broker(site, serve):
        check = BrokerCheck(site.broker.endpoint(), site.topology, site.pki, post)
        with pytest.raises(
            BrokerError, match="what the coordinator publishes to its own subscription does not come back"
        ):
            await check.run()
