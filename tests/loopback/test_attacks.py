"""An intruder with dev's real certificate tries everything against prod: a real broker, a real coordinator, a real store.

Each attempt has no effect, and is refused where it is made or reported by the coordinator.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt
import msgspec
import pytest

from coordinator.broker import pki
from tests.loopback.intruder import DEV, PROD, Estate, estate, status
from tests.support.waiting import HANG_S, until
from wire.dial import dial
from wire.messages import Ack, Armed, Plan
from wire.mqtt import Link, Will
from wire.topics import DownChannel, UpChannel, all_down, down


@pytest.mark.asyncio
async def test_dev_can_neither_read_nor_write_what_is_prods(tmp_path: Path) -> None:
    async with estate(tmp_path) as found:
        await _writes_nothing(found)
        await _reads_nothing(found)
        await _has_no_power_over_the_server(found)
        await _leaves_no_will_of_anothers(found)
        await _takes_over_no_session(found)


async def _writes_nothing(found: Estate) -> None:
    """Publish as prod, and as the coordinator: the broker takes it and throws it away."""
    async with Link(found.dev, subscriptions=all_down("dev", "dev-1")) as victim, found.intruder() as client:
        await victim.wait_connected()
        forged = found.says_dev(status("prod-1", version="forged"))
        for channel in UpChannel:
            await client.publish(f"{PROD}/up/{channel}", forged, qos=1, retain=True)
        for topic in (f"{PROD}/up/other", f"{PROD}/up", "segwatch/v1/prod/prod-2/up/status", "segwatch/v1", "prod"):
            await client.publish(topic, forged, qos=1)
        for topic in (*all_down("dev", "dev-1"), *all_down("prod", "prod-1")):
            await client.publish(topic, b"forged", qos=1, retain=True)
        await found.heard(client)
        assert found.daemon.estate.agents["prod-1"].version == "real"
        await found.tell_prod()
        await found.daemon.post("dev-1", Ack(spool="x", sequence=1))
        async with asyncio.timeout(HANG_S):
            async for message in victim.messages():
                message.done()
                assert message.payload != b"forged"
                if message.topic == down("dev", "dev-1", DownChannel.ACK):
                    break


READS = (
    *(f"{PROD}/down/{channel}" for channel in DownChannel),
    *(f"{PROD}/up/{channel}" for channel in UpChannel),
    f"{PROD}/#", f"{PROD}/down/+", "segwatch/v1/prod/#", "segwatch/v1/+/+/down/plan", "segwatch/v1/#", "segwatch/#",
    "#", "+", "+/#", "+/+/+/+/+/+", f"{DEV}/#", f"{DEV}/down/#", f"{DEV}/up/status", "/#",
    "$SYS/#", "$SYS/REQ/#", "$MQTT/#", "$MQTT/+/#", "$MQTT/sub/#", "$MQTT/sub/+", "$MQTT/deliver/#", "$MQTT/msgs/#",
    f"$MQTT/msgs/{PROD}/down/plan", "$MQTT/rmsgs/#", "$MQTT/sess/#", "$MQTT/JSA/#", "$MQTT/qos2/#", "$MQTT/out/#",
    "$JS/#", "$JS/API/#", "$JS/ACK/#", "$JS/EVENT/#", "_INBOX/#", "_R_/#", "_GR_/#", "$NRG/#", "$KV/#", "$O/#",
    f"$share/g/{PROD}/down/plan", f"$queue/{PROD}/down/plan",
)  # fmt: skip


async def _reads_nothing(found: Estate) -> None:
    granted = []
    async with found.intruder() as client:
        client.pending_calls_threshold = 1000
        for topic in READS:
            for qos in (0, 1):
                (code,) = await client.subscribe(topic, qos=qos)
                if getattr(code, "value", code) < 0x80:
                    granted.append(topic)
        payload = await found.tell_prod()
        await found.prod.publish(f"{PROD}/up/round", found.says_prod(Armed(round="secret", agent="prod-1", ok=True)))
        await found.heard(client)
        seen = await _within(client, 0.5)
        assert all(payload not in bytes(message.payload) for message in seen)
        assert [str(message.topic) for message in seen if b"secret" in bytes(message.payload)] == []
    assert not granted, "each is refused, not merely silent"


async def _within(client: aiomqtt.Client, seconds: float) -> list[aiomqtt.Message]:
    """What the connection receives in that time: there is no event for what does not come."""
    seen: list[aiomqtt.Message] = []
    try:
        async with asyncio.timeout(seconds):
            async for message in client.messages:
                seen.append(message)
    except (TimeoutError, aiomqtt.MqttError):
        pass
    return seen


COMMANDS = (
    "$JS/API/INFO", "$JS/API/STREAM/NAMES", "$JS/API/STREAM/PURGE/$MQTT_msgs", "$JS/API/STREAM/DELETE/$MQTT_msgs",
    "$JS/API/STREAM/DELETE/$MQTT_sess", "$JS/API/STREAM/DELETE/$MQTT_rmsgs", "$JS/API/CONSUMER/NAMES/$MQTT_msgs",
    "$SYS/REQ/SERVER/PING", "$SYS/REQ/USER/INFO", "$SYS/REQ/SERVER/PING/RELOAD", f"$MQTT/msgs/{PROD}/down/plan",
    f"$MQTT/rmsgs/{PROD}/up/status", "$MQTT/sub/anything", "$MQTT/deliver/anything", "$JS/ACK/$MQTT_msgs/x/1/1/1/1/0",
)  # fmt: skip


async def _has_no_power_over_the_server(found: Estate) -> None:
    async with found.intruder() as client:
        for topic in COMMANDS:
            await client.publish(topic, b"", qos=1)
            await client.publish(topic, b"{}", qos=0)
        await found.heard(client)
    await found.tell_prod()
    assert found.prod.connections == 1
    assert found.daemon.link.connections == 1


async def _leaves_no_will_of_anothers(found: Estate) -> None:
    forged = found.says_dev(msgspec.structs.replace(status("prod-1"), online=False))
    log = found.site.state / "broker" / "broker.log"
    for topic in (f"{PROD}/up/status", f"{DEV}/down/plan", f"{PROD}/down/plan", "$JS/API/STREAM/DELETE/$MQTT_msgs"):
        await _dies_with_a_will(found, topic, forged)
        violation = f'Publish Violation - Subject "{topic.replace("/", ".")}"'
        await until(lambda words=violation: words in log.read_text())  # type: ignore[misc]
    # One on dev's own topic is dev's word, whatever it says.
    await _dies_with_a_will(found, f"{DEV}/up/status", forged)
    await until(lambda: found.said("'dev-1' of 'dev' claims to be 'prod-1' of 'prod'"))
    await found.tell_prod()
    assert found.daemon.estate.agents["prod-1"].online


async def _dies_with_a_will(found: Estate, topic: str, payload: bytes) -> None:
    sock = await asyncio.to_thread(dial, found.dev)
    client = Link(found.dev, will=lambda: Will(topic, payload))._new_client(asyncio.get_running_loop().create_future())
    client._client._create_socket = lambda: sock  # type: ignore[method-assign]
    async with client:
        # Without a word: the connection is torn.
        sock.shutdown(socket.SHUT_RDWR)
        with pytest.raises(aiomqtt.MqttError):
            async for _ in client.messages:
                pass
    sock.close()


async def _takes_over_no_session(found: Estate) -> None:
    """Whoever brings a client's id throws its session out, which is why ids are unguessable. It gets nothing of it."""
    assert len(found.prod._id) >= len("segwatch-") + 24
    before = found.prod.connections
    with contextlib.suppress(aiomqtt.MqttError):  # prod comes back and throws the intruder out in turn
        async with found.intruder(name=found.prod._id) as client:
            await found.daemon.post("prod-1", Plan(digest="secret"))
            assert not await _within(client, 0.5)
    async with asyncio.timeout(HANG_S):
        await found.prod.wait_connected(after=before)
    await found.tell_prod()
    gone = Link(found.site.credentials("prod-1"), subscriptions=all_down("prod", "prod-1"))
    async with gone:
        await gone.wait_connected()
    async with found.intruder(name=gone._id, clean=False) as client:
        await found.tell_prod()
        assert not await _within(client, 0.5)


@pytest.mark.asyncio
async def test_what_the_coordinator_tries_its_broker_with_alarms_nobody(tmp_path: Path) -> None:
    async with estate(tmp_path) as found:
        await until(lambda: any(entry["event"] == "the broker was tried" for entry in found.log))
        assert [entry for entry in found.log if entry["event"] == "a message is refused"] == []


@pytest.mark.asyncio
async def test_a_running_coordinator_takes_up_a_revocation_and_says_so(tmp_path: Path) -> None:
    async with estate(tmp_path) as found, found.intruder() as client:
        await found.heard(client)
        generation = pki.revoke(found.site.pki, "dev-1", datetime.now(UTC))
        assert await _within(client, HANG_S) == []
        assert client._disconnected.done(), "cut, and not for the time that we waited"
        with pytest.raises(aiomqtt.MqttError):
            async with found.intruder():
                pass
        state = found.daemon.estate.agents["dev-1"]
        assert (state.state, state.online) == ("revoked", False)
        assert [(event.agent, event.what) for event in found.daemon.store.events()] == [("dev-1", "revoked")]
        assert found.said("certificate")
        assert found.daemon.estate.generations == {"dev-1": generation}
        assert found.prod.connections == 1, "nobody else notices"
