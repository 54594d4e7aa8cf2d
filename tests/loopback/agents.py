"""Agents on loopback: their state directories, and the daemon in the test's own process."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.config import AgentConfig, Credentials, save
from agent.daemon import Daemon
from agent.journal import open_log
from coordinator.broker import pki
from tests.loopback import fake_child
from tests.loopback.estate import Site

FAKE_CHILD = (sys.executable, fake_child.__file__)


def configure(site: Site, directory: Path, *, name: str = "dev-1", url: str = "") -> AgentConfig:
    """What `segwatch agent --bundle` leaves in a state directory."""
    directory.mkdir(exist_ok=True)
    broker = site.credentials(name)
    for file, path in (("agent.pem", broker.certificate), ("agent.key", broker.key), ("ca.pem", broker.ca)):
        (directory / file).write_bytes(path.read_bytes())
        (directory / file).chmod(0o600)
    (directory / "coordinator.pub").write_bytes((site.pki / "coordinator.pub").read_bytes())
    config = AgentConfig(
        name=name,
        environment=name.partition("-")[0],
        broker=url or site.url,
        credentials=Credentials(server_name=pki.BROKER_NAME),
        allow=("10.30.0.0/24", "127.0.0.1"),
    )
    save(config, directory)
    return config


@asynccontextmanager
async def agent(config: AgentConfig, directory: Path) -> AsyncIterator[Daemon]:
    daemon = Daemon(config, directory, open_log("dev-1", as_json=True), child=FAKE_CHILD)
    async with asyncio.TaskGroup() as group:
        group.create_task(daemon.run(), name="agent")
        try:
            yield daemon
        finally:
            daemon.stop()
