"""A coordinator that runs, prod's agent on its connection, and an intruder with dev's real certificate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
from structlog.testing import capture_logs

from coordinator.broker.addresses import Listen
from coordinator.daemon import Daemon
from coordinator.settings import Settings
from tests.loopback.estate import Site, Voice
from tests.support.waiting import HANG_S, until
from wire.dial import Broker, dial
from wire.messages import Plan, Status
from wire.mqtt import Link
from wire.signing import open_down
from wire.topics import UpChannel, all_down, up

DEV = "segwatch/v1/dev/dev-1"
PROD = "segwatch/v1/prod/prod-1"


@dataclass
class Estate:
    """A coordinator that runs, prod's agent on its connection, and an intruder who holds dev's certificate."""

    site: Site
    daemon: Daemon
    prod: Link
    dev: Broker
    says_dev: Voice
    says_prod: Voice
    log: list[Any]
    received: list[str] = field(default_factory=list)

    def said(self, words: str) -> bool:
        return any(words in str(entry.get("why", "")) + str(entry.get("event", "")) for entry in self.log)

    @asynccontextmanager
    async def intruder(
        self, *, name: str = "", will: aiomqtt.Will | None = None, clean: bool = True
    ) -> AsyncIterator[aiomqtt.Client]:
        """A connection with dev's certificate and whatever else an MQTT client may choose."""
        sock = await asyncio.to_thread(dial, self.dev)
        client = aiomqtt.Client(
            self.dev.host, self.dev.port, identifier=name or f"intruder-{time.monotonic_ns()}", will=will,
            protocol=aiomqtt.ProtocolVersion.V311, clean_session=clean, timeout=HANG_S,
        )  # fmt: skip
        client._client._create_socket = lambda: sock  # type: ignore[method-assign]
        try:
            async with client:
                yield client
        finally:
            sock.close()

    async def tell_prod(self) -> bytes:
        """The coordinator sends prod's plan; what prod receives first is that."""
        body = Plan(digest=f"secret {time.monotonic_ns()}")
        await self.daemon.post("prod-1", body)
        async with asyncio.timeout(HANG_S):
            async for message in self.prod.messages():
                message.done()
                order = open_down(self.daemon.post._key.verify_key, message.payload, agent="prod-1")
                if isinstance(order.body, Plan) and order.body.digest == body.digest:  # it goes out with a lease
                    return message.payload
        raise AssertionError

    async def heard(self, client: aiomqtt.Client) -> None:
        """The coordinator has taken everything that the connection published so far: the last was dev's own status."""
        version = f"v{time.monotonic_ns()}"
        await client.publish(f"{DEV}/up/status", self.says_dev(status("dev-1", version=version)), qos=1)
        await until(lambda: self.daemon.estate.agents["dev-1"].version == version)


def status(name: str, **more: Any) -> Status:
    return Status(name=name, environment=name.partition("-")[0], online=True, **more)


@asynccontextmanager
async def estate(directory: Path) -> AsyncIterator[Estate]:
    site = Site(directory)
    settings = Settings(
        topology=directory / "topology.yaml", pki=site.pki, listen=Listen("127.0.0.1", site.port), state_dir=site.state
    )
    dev, held = site.credentials("dev-1"), site.credentials("prod-1")
    prod, says_prod = Link(held, subscriptions=all_down("prod", "prod-1")), Voice(held)
    with capture_logs() as log:
        daemon = Daemon(settings, site.topology)
        async with asyncio.TaskGroup() as group:
            group.create_task(daemon.run(), name="coordinator")
            try:
                async with asyncio.timeout(HANG_S):
                    await daemon.link.wait_connected()
                async with prod:
                    await prod.wait_connected()
                    await prod.publish(
                        up("prod", "prod-1", UpChannel.STATUS), says_prod(status("prod-1", version="real"))
                    )
                    yield Estate(site, daemon, prod, dev, Voice(dev), says_prod, log)
            finally:
                daemon.stop()
