"""What segwatch asks of whatever talks MQTT for it: any client that is to take the place of `wire.mqtt` goes by these tests.

Add yours to `CLIENTS`. Each test is a trap that a library leaves to its user; nothing in here looks into a client.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.loopback.estate import Running, Site, connected, one
from tests.loopback.halfbroker import ACCEPTED, CONNECT, PUBLISH, SUBSCRIBE, Peer, half_broker
from tests.support.waiting import HANG_S, until
from wire import mqtt
from wire.mqtt import INFLIGHT, Link, Message, NotConnected
from wire.topics import all_down, all_up

Client = Callable[..., Link]
CLIENTS: dict[str, Client] = {"aiomqtt 2.5": Link}
OBSERVATIONS = "segwatch/v1/dev/dev-1/up/observations"
WINDOW = 200  # the embedded broker's max_ack_pending


@pytest.fixture(params=CLIENTS)
def new_link(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.mark.asyncio
async def test_both_ways(running_site: Running, new_link: Client) -> None:
    async with running_site() as site:
        middle = new_link(site.broker.endpoint(), subscriptions=all_up())
        agent = new_link(site.credentials("dev-1"), subscriptions=all_down("dev", "dev-1"))
        async with middle, agent:
            await connected(middle, agent)
            await agent.publish(OBSERVATIONS, b"seen")
            assert (await one(middle)).payload == b"seen"
            await middle.publish("segwatch/v1/dev/dev-1/down/round", b"go")
            assert (await one(agent)).topic == "segwatch/v1/dev/dev-1/down/round"


@pytest.mark.asyncio
@pytest.mark.parametrize("topic", ["segwatch/v1/prod/prod-1/down/plan", "segwatch/#", "segwatch/v1/+/+/down/plan"])
async def test_a_foreign_subscription_is_refused_and_said(running_site: Running, topic: str, new_link: Client) -> None:
    async with running_site() as site:
        said: asyncio.Queue[str] = asyncio.Queue()
        async with new_link(site.credentials("dev-1"), subscriptions=(topic,), log=said.put_nowait) as link:
            async with asyncio.timeout(HANG_S):
                assert f"the broker refuses the subscription to {topic}" in await said.get()
            assert not link.connected
            with pytest.raises(NotConnected, match="refuses the subscription"):
                await link.publish(OBSERVATIONS, b"")


@pytest.mark.asyncio
async def test_a_broker_that_hangs_up_at_a_subscription_is_not_waited_for(tmp_path: Path, new_link: Client) -> None:
    site = Site(tmp_path)
    said: asyncio.Queue[str] = asyncio.Queue()

    async def serve(peer: Peer) -> None:
        assert await peer.packet() == CONNECT
        await peer.say(ACCEPTED)
        assert await peer.packet() == SUBSCRIBE

    async with half_broker(site, serve):
        link = new_link(site.credentials("dev-1"), subscriptions=all_down("dev", "dev-1"), log=said.put_nowait)
        async with asyncio.timeout(HANG_S), link:
            wanted = "ended the connection at the subscription to segwatch/v1/dev/dev-1/down/plan"
            assert wanted in await said.get(), "and not the time-out of a subscription that nobody will answer"
            assert not link.refused


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("code", "refused", "words"),
    [
        (1, False, mqtt.LET_IN),  # it does not speak 3.1.1
        (3, False, "it does not let us in: "),
        (4, True, "it does not let us in: "),
        (5, True, "it does not let this certificate in: it is revoked, or not of the topology that the broker"),
    ],
)
async def test_a_broker_that_says_no_and_one_that_says_not_now(
    tmp_path: Path, code: int, refused: bool, words: str, new_link: Client
) -> None:
    site = Site(tmp_path)
    said: asyncio.Queue[str] = asyncio.Queue()

    async def serve(peer: Peer) -> None:
        assert await peer.packet() == CONNECT
        await peer.say(bytes((0x20, 2, 0, code)))

    async with half_broker(site, serve), new_link(site.credentials("dev-1"), log=said.put_nowait) as link:
        async with asyncio.timeout(HANG_S):
            assert words in await said.get()
        assert link.refused is refused


@pytest.mark.asyncio
async def test_it_is_not_connected_again_before_the_broker_says_so(tmp_path: Path, new_link: Client) -> None:
    site = Site(tmp_path)
    asked, answer, count = asyncio.Event(), asyncio.Event(), 0
    link = new_link(site.credentials("dev-1"))

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
async def test_it_comes_back_when_the_broker_was_killed(running_site: Running, new_link: Client) -> None:
    async with running_site() as site:
        middle = new_link(site.broker.endpoint(), subscriptions=all_up())
        agent = new_link(site.credentials("dev-1"), subscriptions=all_down("dev", "dev-1"))
        async with middle, agent:
            await connected(middle, agent)
            os.kill(site.broker.pid, signal.SIGKILL)
            async with asyncio.timeout(HANG_S):
                await middle.wait_connected(after=1)
                await agent.wait_connected(after=1)
            await agent.publish(OBSERVATIONS, b"again")
            assert (await one(middle)).payload == b"again"


@pytest.mark.asyncio
async def test_a_session_that_cannot_be_taken_up_again_is_given_up(tmp_path: Path, new_link: Client) -> None:
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

    link = new_link(site.credentials("dev-1"), subscriptions=("a",), name="dev-1")
    async with half_broker(site, serve), link, asyncio.timeout(HANG_S):
        await link.wait_connected(after=1)
    assert len(ids) == 3
    assert ids[0] == ids[1], "its session is taken over, so that the last will of the old connection comes before"
    assert ids[2] != ids[0]


@pytest.mark.asyncio
async def test_a_publish_ends_with_its_connection(tmp_path: Path, new_link: Client) -> None:
    site = Site(tmp_path)

    async def serve(peer: Peer) -> None:
        assert await peer.packet() == CONNECT
        await peer.say(ACCEPTED)
        assert await peer.packet() == PUBLISH  # and it hangs up

    async with half_broker(site, serve), new_link(site.credentials("dev-1")) as link:
        await connected(link)
        async with asyncio.timeout(HANG_S):
            with pytest.raises(NotConnected, match="before it confirmed the message"):  # and no time-out of its own
                await link.publish(OBSERVATIONS, b"into the void")


@pytest.mark.asyncio
async def test_what_is_given_up_before_it_left_is_not_sent_later(tmp_path: Path, new_link: Client) -> None:
    """Else a client's queue sends it at any time, whatever became of us. No more than the window is under way."""
    site, sent, last = Site(tmp_path), [], asyncio.Event()
    confirm = asyncio.Event()

    async def serve(peer: Peer) -> None:
        assert await peer.packet() == CONNECT
        await peer.say(ACCEPTED)
        while await peer.packet() == PUBLISH:
            sent.append(peer.published)
            if len(sent) == INFLIGHT:
                await confirm.wait()
                for _, number in sent:
                    await peer.say(b"\x40\x02" + number)
            elif len(sent) > INFLIGHT:
                await peer.say(b"\x40\x02" + peer.published[1])
            if peer.published[0] == b"last":
                last.set()

    async with half_broker(site, serve), new_link(site.credentials("dev-1")) as link, asyncio.timeout(HANG_S):
        await link.wait_connected()
        async with asyncio.TaskGroup() as group:
            publishing = (link.publish(OBSERVATIONS, b"early") for _ in range(3 * INFLIGHT))
            under_way = [group.create_task(one, name=f"publish {number}") for number, one in enumerate(publishing)]
            await until(lambda: len(sent) == INFLIGHT)
            for sending in under_way:
                sending.cancel()
        confirm.set()
        await link.publish(OBSERVATIONS, b"last")
        await last.wait()
    assert [payload for payload, _ in sent] == [b"early"] * INFLIGHT + [b"last"]


@pytest.mark.asyncio
async def test_nobody_guesses_its_id(tmp_path: Path, new_link: Client) -> None:
    """Whoever brings a client's id takes over its session, whatever its certificate says."""
    site, ids = Site(tmp_path), set()

    async def serve(peer: Peer) -> None:
        assert await peer.packet() == CONNECT
        ids.add(peer.client_id)
        await peer.say(ACCEPTED)
        await peer.packet()

    async with half_broker(site, serve):
        for _ in range(2):
            async with new_link(site.credentials("dev-1"), name="dev-1") as link:
                await connected(link)
    assert len(ids) == 2
    assert all(len(found.removeprefix("dev-1-")) >= 16 for found in ids)


@pytest.mark.asyncio
async def test_what_is_not_done_comes_again(running_site: Running, new_link: Client) -> None:
    async with running_site() as site:
        middle = new_link(site.broker.endpoint(), subscriptions=all_up())
        agent = new_link(site.credentials("dev-1"))
        async with middle, agent:
            await connected(middle, agent)
            await agent.publish(OBSERVATIONS, b"work")
            async with asyncio.timeout(HANG_S):  # the broker's ack_wait is 5 s
                messages = middle.messages()
                first = await anext(messages)
                again = await anext(messages)
            assert first.payload == again.payload == b"work"
            first.done()
            again.done()
            again.done()  # harmless


@pytest.mark.asyncio
async def test_a_reader_that_is_behind_is_waited_for_and_loses_nothing(running_site: Running, new_link: Client) -> None:
    async with running_site() as site:
        middle, agent = new_link(site.broker.endpoint(), subscriptions=all_up()), new_link(site.credentials("dev-1"))
        async with middle, agent:
            await connected(middle, agent)
            sent = [b"%d" % number for number in range(WINDOW + 100)]
            await asyncio.gather(*(agent.publish(OBSERVATIONS, payload) for payload in sent))
            held: list[Message] = []
            async with asyncio.timeout(HANG_S):
                messages = middle.messages()
                while len(held) < WINDOW:
                    held.append(await anext(messages))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await anext(messages)
            for message in held:  # the broker holds back the rest, and not this process
                message.done()
            got = {message.payload for message in held}
            async with asyncio.timeout(HANG_S):
                async for message in middle.messages():
                    message.done()
                    got.add(message.payload)
                    if len(got) == len(sent):
                        break
            assert got == set(sent)
