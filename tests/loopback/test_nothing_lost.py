"""A gap from the agent's spool to every place that shows it, with real processes; the store checked and saved meanwhile."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from agent.config import AgentConfig
from agent.losses import Clock
from agent.outbox import Outbox
from agent.spool import Spool
from coordinator.broker.pki import BROKER_NAME
from reachability.observation import SourceReport
from tests.loopback.agents import agent, configure
from tests.loopback.coordinators import coordinator, serves
from tests.loopback.estate import Running, Voice
from tests.loopback.middle import Middle
from tests.support.waiting import HANG_S, until, wait_for
from wire.dial import Broker
from wire.messages import Ack, Batch, Status
from wire.mqtt import Link
from wire.signing import open_down, read_verify_key
from wire.topics import UpChannel, all_down, up


def overflowing(path: Path, batches: int) -> Spool:
    """A spool that kept the last two of so many batches."""
    spool = Spool(path, clock=Clock(time.monotonic, time.time, "b"), most_bytes=5000)
    for number in range(batches):
        spool.put(sources=(SourceReport(round=f"R{number}", agent="dev-1", problems=("x" * 2000,)),))
    return spool


@pytest.mark.asyncio
async def test_the_daemon_tells_of_its_gap_until_it_is_acknowledged(running_site: Running, tmp_path: Path) -> None:
    async with running_site() as site:
        middle, directory = Middle(site), tmp_path / "agent"
        config: AgentConfig = configure(site, directory)
        overflowing(directory / "spool.sqlite", 9).close()
        async with middle.link, agent(config, directory) as daemon:
            status = await middle.hear(Status)
            assert (status.spooled, status.lost, status.untold) == (2, 7, 7)
            told = await middle.hear(Batch, lambda batch: bool(batch.gaps))
            [gap] = told.gaps
            assert (told.sequence, gap.first, gap.last, gap.reports, gap.why) == (7, 1, 7, 7, "bytes")
            await middle.tell(Ack(spool=told.spool, sequence=9))
            await until(lambda: not len(daemon._spool))
            assert (daemon._spool.gap, daemon._spool.untold) == (7, 0)


async def speak(directory: Path, url: str, spool: Spool) -> None:
    """As the agent dev-1 does: send what the spool holds until the coordinator has acknowledged it."""
    with tarfile.open(directory / "dev-1.tar") as tar:
        tar.extractall(directory / "dev-1", filter="data")
    held = directory / "dev-1"
    broker = Broker.parse(
        url, ca=held / "ca.pem", certificate=held / "agent.pem", key=held / "agent.key", server_name=BROKER_NAME
    )
    key = read_verify_key((held / "coordinator.pub").read_text())
    link = Link(broker, subscriptions=all_down("dev", "dev-1"))
    says = Voice(broker)
    outbox = Outbox(link, spool, up("dev", "dev-1", UpChannel.OBSERVATIONS), sign=says.sign)
    async with link, asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
        await link.wait_connected()
        await link.publish(
            up("dev", "dev-1", UpChannel.STATUS), says(Status(name="dev-1", environment="dev", online=True))
        )
        sending = group.create_task(outbox.run(), name="outbox")
        async for message in link.messages():
            body = open_down(key, message.payload, agent="dev-1").body
            message.done()
            if isinstance(body, Ack) and outbox.acknowledged(body) and not spool.sequences():
                break
        sending.cancel()


def test_a_gap_is_acknowledged_and_shown_and_a_backup_has_it(tmp_path: Path) -> None:
    spool = overflowing(tmp_path / "spool.sqlite", 12)
    with coordinator(tmp_path) as running:
        arguments = running.process.args
        assert isinstance(arguments, list)
        listen = arguments[arguments.index("--listen") + 1]
        made = ["pki", "agent", "dev-1", "--dir", "pki", "-f", "topology.yaml", "--broker", f"mqtts://{listen}"]
        assert running.cli(*made, "--out", "dev-1.tar").returncode == 0
        asyncio.run(speak(tmp_path, f"mqtts://{listen}", spool))
        assert (len(spool), spool.gap, spool.untold) == (0, 10, 0)

        def shown() -> tuple[int, list[str]]:
            [lost] = json.loads(running.cli("coverage", "--state-dir", "state", "-o", "json").stdout)["lost"]
            assert (lost["agent"], lost["environment"]) == ("dev-1", "dev")
            return lost["reports"], lost["why"]

        assert shown() == (10, ["bytes"])
        assert "! dev-1: 10 reports lost" in running.cli("coverage", "--state-dir", "state").stdout
        [gap] = json.loads(running.request("GET", "/api/v1/gaps")[1])
        assert (gap["first"], gap["last"], gap["batches"], gap["spool"]) == (1, 10, 10, spool.id)
        agents = json.loads(running.request("GET", "/api/v1/status")[1])["agents"]
        assert {entry["name"]: entry["lost"]["reports"] for entry in agents if entry["lost"]["reports"]} == {
            "dev-1": 10
        }
        assert (
            'segwatch_agent_lost_reports_total{agent="dev-1",environment="dev"} 10.0'
            in running.request("GET", "/metrics")[1]
        )
        assert json.loads(running.request("GET", "/healthz")[1])["store"] is True

        checked = running.cli("store", "check", "--state-dir", "state", "-o", "json")
        assert (checked.returncode, json.loads(checked.stdout)["rows"]["gaps"]) == (0, 1)
        saved = running.cli("store", "backup", "saved.sqlite", "--state-dir", "state")
        assert saved.returncode == 0, saved.stderr
        assert (
            "To restore it: stop the coordinator, then: segwatch store restore saved.sqlite --state-dir state"
            in saved.stderr
        )
        assert running.cli("store", "restore", "saved.sqlite", "--state-dir", "state").returncode == 2
    restored = subprocess.run(
        [arguments[0], "store", "restore", "saved.sqlite", "--state-dir", "state"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert restored.returncode == 0, restored.stderr
    with subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            running.process = process
            wait_for(lambda: serves(process, tmp_path / "state" / "coordinator.sock"))
            assert shown() == (10, ["bytes"])
        finally:
            process.terminate()
    spool.close()
