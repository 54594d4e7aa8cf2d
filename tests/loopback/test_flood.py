"""One agent floods a real coordinator over its real broker: it is cut, named and counted, and the other one does not notice."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agent.config import Credentials
from coordinator.broker import pki
from reachability.observation import SourceReport
from tests.loopback.coordinators import Running, coordinator
from tests.loopback.estate import Voice
from tests.support.waiting import HANG_S
from wire.dial import Broker
from wire.messages import Ack, Batch, Status
from wire.mqtt import Link, NotConnected
from wire.signing import open_down, read_verify_key
from wire.topics import DownChannel, UpChannel, down, up

AT_ONCE = 100
BATCHES = 40  # of the other: the flooder sends a hundred times as many


class Client:
    """An agent's certificate, and what its owner does with it."""

    def __init__(self, running: Running, environment: str, name: str) -> None:
        issued = pki.issue_agent(running.directory / "pki", environment, name, dt.datetime.now(dt.UTC))
        self.environment, self.name = environment, name
        directory, held = running.directory / name, Credentials()
        directory.mkdir()
        files = {"pem": directory / held.certificate, "key": directory / held.key}
        files["pem"].write_bytes(issued.certificate)
        files["key"].write_bytes(issued.key)
        files["key"].chmod(0o600)
        self._key = read_verify_key((running.directory / "pki" / "coordinator.pub").read_text())
        asked = running.process.args
        assert isinstance(asked, list)
        port = int(str(asked[asked.index("--listen") + 1]).rpartition(":")[2])
        broker = Broker(
            "127.0.0.1", port, running.directory / "pki" / "ca.pem", files["pem"], files["key"], pki.BROKER_NAME
        )
        self._says = Voice(broker)
        self.link = Link(broker, subscriptions=[down(environment, name, DownChannel.ACK)])
        self.acks: list[int] = []
        self.acked = asyncio.Event()

    async def say_status(self) -> None:
        payload = self._says(Status(name=self.name, environment=self.environment, online=True))
        await self.link.publish(up(self.environment, self.name, UpChannel.STATUS), payload, retain=True)

    async def send(self, sequence: int) -> None:
        report = SourceReport(round=f"{self.name}-{sequence}", agent=self.name)
        batch = Batch(spool=f"spool-of-{self.name}", sequence=sequence, age_s=0.0, sources=(report,))
        payload = self._says(batch)
        await self.link.publish(up(self.environment, self.name, UpChannel.OBSERVATIONS), payload)

    async def hear(self) -> None:
        async for message in self.link.messages():
            order = open_down(self._key, message.payload, agent=self.name)
            assert isinstance(order.body, Ack)
            self.acks.append(order.body.sequence)
            message.done()
            self.acked.set()

    async def until(self, sequence: int) -> None:
        """Wait for the acknowledgement of a batch."""
        async with asyncio.timeout(HANG_S):
            while not self.acks or self.acks[-1] < sequence:
                self.acked.clear()
                await self.acked.wait()


async def flood(client: Client, answered: asyncio.Event) -> int:
    """As much as goes, until it is cut off; how many messages. Somebody else is `answered` after its beginning, at least."""
    sent = 0
    while client.link.connected:
        if sent:
            async with asyncio.timeout(HANG_S):
                await answered.wait()
        with suppress(NotConnected):
            await asyncio.gather(*(client.send(sent + number) for number in range(1, AT_ONCE + 1)))
        sent += AT_ONCE
    return sent


def events(running: Running, what: str) -> list[dict[str, Any]]:
    body = json.loads(running.request("GET", "/api/v1/history")[1])
    return [event for event in body if event["what"] == what]


@pytest.mark.asyncio
async def test_a_flood_is_cut_named_and_counted_and_nobody_else_waits(tmp_path: Path) -> None:
    with coordinator(tmp_path) as running:
        flooder, other = Client(running, "dev", "dev-1"), Client(running, "prod", "prod-1")
        async with flooder.link, other.link, asyncio.TaskGroup() as group:
            hearing = [group.create_task(client.hear()) for client in (flooder, other)]
            for client in (flooder, other):
                async with asyncio.timeout(HANG_S):
                    await client.link.wait_connected()
                await client.say_status()
            answered, sequence = asyncio.Event(), 0
            flooding = group.create_task(flood(flooder, answered))
            while not flooding.done() or sequence < BATCHES:
                sequence += 1
                await other.send(sequence)
                await other.until(sequence)
                answered.set()
            for task in hearing:
                task.cancel()
        sent = flooding.result()
        assert sent >= 1000, "what is allowed for"
        assert other.acks == sorted(set(other.acks))
        assert (other.acks[-1], other.link.connections) == (sequence, 1)
        assert not flooder.acks or flooder.acks[-1] < sent
        (entry,) = json.loads(running.request("GET", "/api/v1/status")[1])["floods"]
        assert (entry["agent"], entry["cuts"]) == ("dev-1", 1)
        assert entry["dropped"] > 0
        assert 0 < entry["out_for_s"] <= 60
        (event,) = events(running, "cut")
        assert event["text"] == "dev-1 sends more than an agent may: it is cut off for 60 s"
        metrics = running.request("GET", "/metrics")[1]
        assert 'segwatch_agent_cuts_total{agent="dev-1"} 1.0\n' in metrics
        assert 'segwatch_agent_cuts_total{agent="prod-1"} 0.0\n' in metrics
        assert f'segwatch_messages_dropped_total{{agent="dev-1"}} {float(entry["dropped"])}\n' in metrics
        running.process.terminate()
        assert running.process.stderr
        assert "dev-1 sends more than an agent may" in running.process.stderr.read()
