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
from tests.loopback.estate import Running, Site, connected
from tests.loopback.halfbroker import ACCEPTED, CONNECT, Peer, half_broker
from tests.support.waiting import HANG_S, until
from wire import mqtt
from wire.envelope import pack_up, unpack_up
from wire.messages import Batch
from wire.mqtt import Link, NotConnected
from wire.topics import all_up

OBSERVATIONS = "segwatch/v1/dev/dev-1/up/observations"
WINDOW = 200  # the embedded broker's max_ack_pending


async def stop(pid: int) -> None:
    """SIGSTOP; a busy machine takes its time until the last thread has heard of it."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    await until(lambda: all(path.read_text().rpartition(") ")[2][0] == "T" for path in threads.glob("*/stat")))


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
