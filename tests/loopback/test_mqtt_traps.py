"""What aiomqtt and paho leave to the application, each case with what it costs where that is left out."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import aiomqtt
import pytest

from coordinator.store import Store
from reachability.observation import SourceReport
from tests.loopback.estate import Running, Site
from tests.loopback.halfbroker import ACCEPTED, CONNECT, SUBSCRIBE, WRONG_PROTOCOL, Peer, half_broker
from tests.support.waiting import HANG_S, until
from wire import mqtt
from wire.envelope import pack_up, unpack_up
from wire.messages import Batch
from wire.mqtt import INFLIGHT, Link, NotConnected
from wire.topics import all_down, all_up

OBSERVATIONS = "segwatch/v1/dev/dev-1/up/observations"
WINDOW = 200  # the embedded broker's max_ack_pending


async def connected(*links: Link) -> None:
    async with asyncio.timeout(HANG_S):
        for link in links:
            await link.wait_connected()


async def stop(pid: int) -> None:
    """SIGSTOP; a busy machine takes its time until the last thread has heard of it."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    await until(lambda: all(path.read_text().rpartition(") ")[2][0] == "T" for path in threads.glob("*/stat")))


@pytest.mark.asyncio
async def test_a_reader_that_is_behind_is_waited_for_and_loses_nothing(running_site: Running) -> None:
    async with running_site() as site:
        middle, agent = Link(site.broker.endpoint(), subscriptions=all_up()), Link(site.credentials("dev-1"))
        async with middle, agent:
            await connected(middle, agent)
            sent = [b"%d" % number for number in range(WINDOW + 100)]
            await asyncio.gather(*(agent.publish(OBSERVATIONS, payload) for payload in sent))
            await until(lambda: middle._incoming.qsize() >= WINDOW)
            await asyncio.sleep(0.2)
            assert middle._incoming.qsize() == WINDOW, "the broker holds back the rest, not this process"
            got = set()
            async with asyncio.timeout(HANG_S):
                async for message in middle.messages():
                    message.done()
                    got.add(message.payload)
                    if len(got) == len(sent):
                        break
            assert got == set(sent)


@pytest.mark.asyncio
async def test_no_more_than_the_window_is_in_pahos_hands(running_site: Running) -> None:
    async with running_site() as site, Link(site.credentials("dev-1")) as agent:
        await connected(agent)
        assert agent._client is not None
        paho = agent._client._client
        await stop(site.broker.pid)
        async with asyncio.TaskGroup() as group:
            for number in range(3 * INFLIGHT):
                group.create_task(agent.publish(OBSERVATIONS, b"%d" % number), name=f"publish {number}")
            await until(lambda: len(paho._out_messages) >= INFLIGHT)
            await asyncio.sleep(0.05)
            assert len(paho._out_messages) == INFLIGHT, (
                "what it would queue beyond is sent later, whatever became of us"
            )
            assert paho._inflight_messages == INFLIGHT, "all of it is on its way: none waits in the queue"
            os.kill(site.broker.pid, signal.SIGCONT)


@pytest.mark.asyncio
async def test_a_publish_that_failed_may_arrive_and_the_store_takes_it_once(
    running_site: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_site() as site:
        middle, agent = Link(site.broker.endpoint(), subscriptions=all_up()), Link(site.credentials("dev-1"))
        batch = Batch(spool="s", sequence=1, age_s=0.0, sources=(SourceReport(round="r", agent="dev-1"),))
        store = Store(tmp_path / "store")
        async with middle, agent:
            await connected(middle, agent)
            monkeypatch.setattr(mqtt, "PUBLISH_S", 0.1)
            await stop(site.broker.pid)
            with pytest.raises(NotConnected, match="was not sent: Operation timed out"):
                await agent.publish(OBSERVATIONS, pack_up(batch))
            monkeypatch.undo()
            os.kill(site.broker.pid, signal.SIGCONT)
            await agent.publish(OBSERVATIONS, pack_up(batch))  # what an outbox does
            taken = []
            async with asyncio.timeout(HANG_S):
                async for message in middle.messages():
                    message.done()
                    body = unpack_up(message.payload)
                    assert isinstance(body, Batch)
                    taken.append(store.take("dev-1", body.spool, body.sequence, body.oldest, body.sources, 0.0))
                    if len(taken) == 2:
                        break
        assert [(one.new, one.acknowledged) for one in taken] == [(True, 1), (False, 1)]
        store.close()


@pytest.mark.asyncio
async def test_a_broker_that_hangs_up_at_a_subscription_is_not_waited_for(tmp_path: Path) -> None:
    site = Site(tmp_path)
    said: asyncio.Queue[str] = asyncio.Queue()

    async def serve(peer: Peer) -> None:
        assert await peer.packet() == CONNECT
        await peer.say(ACCEPTED)
        assert await peer.packet() == SUBSCRIBE

    async with half_broker(site, serve):
        link = Link(site.credentials("dev-1"), subscriptions=all_down("dev", "dev-1"), log=said.put_nowait)
        async with asyncio.timeout(HANG_S), link:
            wanted = "ended the connection at the subscription to segwatch/v1/dev/dev-1/down/plan"
            assert wanted in await said.get(), "and not the time-out of a subscription that nobody will answer"
            assert not link.refused


@pytest.mark.asyncio
async def test_it_is_not_connected_again_before_the_broker_says_so(tmp_path: Path) -> None:
    site = Site(tmp_path)
    asked, answer, count = asyncio.Event(), asyncio.Event(), 0
    link = Link(site.credentials("dev-1"))

    async def serve(peer: Peer) -> None:
        nonlocal count
        count += 1
        assert await peer.packet() == CONNECT
        if count == 1:
            await peer.say(ACCEPTED)
            await link.wait_connected()  # an end that comes with the CONNACK is none of a connection
            return
        asked.set()
        await answer.wait()
        await peer.say(ACCEPTED)
        await peer.packet()

    async with half_broker(site, serve), link:
        async with asyncio.timeout(HANG_S):
            await asked.wait()
            await asyncio.sleep(0.2)
            assert (link.connected, link.connections) == (False, 1), "there was no CONNACK"
            with pytest.raises(NotConnected):
                await link.publish(OBSERVATIONS, b"too early")
            answer.set()
            await link.wait_connected(after=1)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("code", "refused", "words"),
    [
        (3, False, "it does not let us in: "),
        (4, True, "it does not let us in: "),
        (5, True, "it does not let this certificate in: it is revoked, or not of the topology that the broker"),
    ],
)
async def test_a_broker_that_says_no_and_one_that_says_not_now(
    tmp_path: Path, code: int, refused: bool, words: str
) -> None:
    site = Site(tmp_path)
    said: asyncio.Queue[str] = asyncio.Queue()

    async def serve(peer: Peer) -> None:
        assert await peer.packet() == CONNECT
        await peer.say(bytes((0x20, 2, 0, code)))

    async with half_broker(site, serve), Link(site.credentials("dev-1"), log=said.put_nowait) as link:
        async with asyncio.timeout(HANG_S):
            assert words in await said.get()
        assert link.refused is refused


@pytest.mark.asyncio
async def test_a_broker_that_does_not_speak_3_1_1_is_not_waited_for(tmp_path: Path) -> None:
    site = Site(tmp_path)
    said: asyncio.Queue[str] = asyncio.Queue()

    async def serve(peer: Peer) -> None:
        assert await peer.packet() == CONNECT
        await peer.say(WRONG_PROTOCOL)

    async with half_broker(site, serve), Link(site.credentials("dev-1"), log=said.put_nowait):
        async with asyncio.timeout(HANG_S):
            assert (await said.get()).endswith(mqtt.LET_IN)


@pytest.mark.asyncio
async def test_a_connection_without_an_answer_does_not_spoil_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, count = Site(tmp_path), 0
    ordinary, made = Link._new_client, []

    def new_client(link: Link, ended: asyncio.Future[str]) -> aiomqtt.Client:
        made.append(ordinary(link, ended))
        made[-1].timeout = HANG_S if made[1:] else 0.3  # only the first is to wait in vain
        return made[-1]

    monkeypatch.setattr(Link, "_new_client", new_client)

    async def serve(peer: Peer) -> None:
        nonlocal count
        count += 1
        assert await peer.packet() == CONNECT
        if count > 1:
            await peer.say(ACCEPTED)
        await peer.packet()

    async with half_broker(site, serve), Link(site.credentials("dev-1")) as link:
        await connected(link)
        assert count == 2, "the second one, on a socket of the same number, hears its CONNACK"


@pytest.mark.asyncio
async def test_a_session_that_cannot_be_taken_up_again_is_given_up(tmp_path: Path) -> None:
    """RabbitMQ's queue of a client's id stays on the node that died, and every subscription by that id fails."""
    site = Site(tmp_path)
    ids: list[str] = []

    async def serve(peer: Peer) -> None:
        assert await peer.packet() == CONNECT
        ids.append(peer.client_id)
        await peer.say(ACCEPTED)
        assert await peer.packet() == SUBSCRIBE
        if len(ids) == 2:  # the second connection of the id
            return
        await peer.say(b"\x90\x03\x00\x01\x01")
        if len(ids) > 2:
            await peer.packet()

    link = Link(site.credentials("dev-1"), subscriptions=("a",), name="dev-1")
    async with half_broker(site, serve), link, asyncio.timeout(HANG_S):
        await link.wait_connected(after=1)
    assert len(ids) == 3
    assert ids[0] == ids[1], "its session is taken over, so that the last will of the old connection comes before"
    assert ids[2] != ids[0]


@pytest.mark.asyncio
async def test_a_socket_that_closes_before_it_is_written_to_leaves_nothing_in_the_loop(tmp_path: Path) -> None:
    """Its number may be the next connection's: what is asked of the loop for it would be asked of another."""
    site, loop = Site(tmp_path), asyncio.get_running_loop()
    wrong: list[object] = []
    loop.set_exception_handler(lambda _, context: wrong.append(context))
    client = Link(site.credentials("dev-1"))._new_client(loop.create_future())
    first, other = socket.socketpair()
    with first, other:
        client._client._sock = first
        client._client._call_socket_register_write()
        client._client._sock_close()
        await asyncio.sleep(0.01)
    assert not wrong
    client._disconnected.cancel()
