"""The embedded broker when something around it fails: its rules cannot be written, it is ended while it is tried."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.broker.capabilities import BrokerCheck
from tests.loopback.estate import Site, estate
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S
from wire.messages import Ack
from wire.mqtt import Link


@pytest.mark.asyncio
async def test_rules_that_could_not_be_written_reach_it_as_soon_as_they_can(tmp_path: Path) -> None:
    site = Site(tmp_path)
    said: list[str] = []
    site.broker._log = said.append
    await site.broker.start()
    try:
        new = site.state / "broker" / f".broker.conf.{os.getpid()}"
        new.mkdir()  # a file that cannot be written, for root too
        newcomer = Link(site.credentials("prod-2"), subscriptions=["segwatch/v1/prod/prod-2/down/plan"])
        for _ in range(2):
            await site.broker.reload(estate("dev-1", "prod-1", "prod-2"))
        assert [text.partition(":")[0] for text in said] == ["the broker goes on with the rules that it had"], "once"
        async with newcomer:
            new.rmdir()
            site.broker.take_up()
            async with asyncio.timeout(HANG_S):
                await newcomer.wait_connected()
    finally:
        await site.broker.stop()


@pytest.mark.asyncio
async def test_one_that_is_started_again_while_it_is_tried_is_not_said_to_lack_anything(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.broker.start()
    links: list[Link] = []

    async def post(agent: str, ack: Ack) -> None:
        raise AssertionError(agent, ack)  # there is no agent to send to

    check = BrokerCheck(site.broker.endpoint(), estate(), site.pki, post)
    carries = check._carries
    killed: list[int] = []

    async def carried(middle, topic: str, payload: bytes, within_s: float) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001
        links.append(middle.link)
        if len(payload) > 1000 and not killed:
            killed.append(site.broker.pid)
            site.broker.restart()
        return await carries(middle, topic, payload, within_s)

    check._carries = carried  # type: ignore[method-assign]
    try:
        async with asyncio.timeout(HANG_S):
            assert await check.run() == ()
        assert killed
        assert site.broker.pid not in {0, *killed}
        assert links[0].connections == 2
    finally:
        await site.broker.stop()


ON_A_SMALL_DISK = """
import asyncio, contextlib, sys
from pathlib import Path

from tests.loopback.estate import Site
from tests.support.waiting import HANG_S
from wire.mqtt import Link, NotConnected

TOPIC = "segwatch/v1/check/disk"


async def main(directory):
    site = Site(directory)
    await site.broker.start()
    link = Link(site.broker.endpoint(), subscriptions=[TOPIC])
    async with asyncio.timeout(60), link:
        await link.wait_connected()
        await link.publish(TOPIC, bytes(20000))
        ballast = directory / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass
        site.broker.look_at_disk()
        with contextlib.suppress(NotConnected):  # it fails for good: NATS hangs up on whoever publishes from now on
            for _ in range(100):
                await link.publish(TOPIC, bytes(20000))
        ballast.unlink()
        if sys.argv[2] == "look":
            site.broker.look_at_disk()
        refused = 0
        for _ in range(3):
            await link.wait_connected()
            try:
                await link.publish(TOPIC, bytes(20000))
                break
            except NotConnected:
                refused += 1
        print("serves" if refused < 3 else "serves nobody")
    await site.broker.stop()


asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("then", "says"), [("look", "serves"), pytest.param("not", "serves nobody", marks=pytest.mark.soak)]
)
def test_one_whose_disk_was_full_is_started_again_when_there_is_room(tmp_path: Path, then: str, says: str) -> None:
    mounted = 'mount -t tmpfs -o size=48m tmpfs "$1" && exec "$2" -c "$3" "$1" "$4"'
    command = [
        "unshare",
        "-Urmn",
        "sh",
        "-c",
        f"ip link set lo up && {mounted}",
        "sh",
        str(tmp_path),
        sys.executable,
        ON_A_SMALL_DISK,
        then,
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=100, check=False)
    assert done.stdout.strip() == says, done.stderr
