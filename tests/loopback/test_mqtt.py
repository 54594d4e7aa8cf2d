"""The link and the embedded broker, on loopback: what gets in, what does not, and what survives."""

import asyncio
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from coordinator.broker import pki
from coordinator.broker.addresses import Listen
from coordinator.broker.embedded import BrokerError, EmbeddedBroker
from tests.loopback.estate import Running, Site, connected, estate, one
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S, until
from wire.dial import Broker
from wire.mqtt import Link, Will
from wire.topics import all_up

STATUS, OBSERVATIONS = "segwatch/v1/dev/dev-1/up/status", "segwatch/v1/dev/dev-1/up/observations"


@pytest.mark.asyncio
async def test_what_is_not_ones_own_vanishes(running_site: Running) -> None:
    async with running_site() as site:
        middle = Link(site.broker.endpoint(), subscriptions=("segwatch/#",))
        agent = Link(site.credentials("dev-1"))
        async with middle, agent:
            await connected(middle, agent)
            for foreign in ("segwatch/v1/prod/prod-1/up/status", "segwatch/v1/dev/dev-1/down/plan", "other"):
                await agent.publish(foreign, b"forged")  # the broker acknowledges what its ACL denies
            await agent.publish(OBSERVATIONS, b"own")
            assert (await one(middle)).payload == b"own"


@pytest.mark.asyncio
async def test_the_last_will_speaks_for_the_dead_only(running_site: Running) -> None:
    async with running_site() as site:
        async with Link(site.broker.endpoint(), subscriptions=all_up()) as middle:
            await connected(middle)
            async with Link(site.credentials("dev-1"), will=lambda: Will(STATUS, b"gone")) as polite:
                await connected(polite)
            async with Link(site.credentials("dev-1"), will=lambda: Will(STATUS, b"gone")) as dead:
                await connected(dead)
                await dead.publish(OBSERVATIONS, b"alive")
                assert (await one(middle)).payload == b"alive", "a good end leaves no will"
                dead._client._client._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
                assert (await one(middle)).payload == b"gone"
                await dead.wait_connected(after=1)
        async with Link(site.broker.endpoint(), subscriptions=all_up()) as late:
            message = await one(late)
            assert (message.payload, message.retained) == (b"gone", True)


@pytest.mark.asyncio
async def test_enrolment_and_revocation_by_reload(running_site: Running) -> None:
    async with running_site() as site:
        agent, late = Link(site.credentials("dev-1")), Link(site.credentials("dev-2"))
        async with agent, late:
            await connected(agent)
            assert not late.connected
            await site.broker.reload(estate("dev-1", "dev-2", "prod-1"))
            await connected(late)
            assert agent.connections == 1
            await site.broker.reload(estate("dev-2", "prod-1"))
            await until(lambda: not agent.connected)
            assert late.connections == 1


@pytest.mark.asyncio
async def test_a_certificate_of_another_ca_and_another_environment(running_site: Running, tmp_path: Path) -> None:
    async with running_site() as site:
        other = tmp_path / "other"
        other.mkdir()
        foreign = Site(other).credentials("dev-1")
        moved = site.credentials("dev-1")
        issued = pki.issue_agent(site.pki, "prod", "dev-1", datetime.now(UTC))
        moved.certificate.write_bytes(issued.certificate)
        moved.key.write_bytes(issued.key)
        said: asyncio.Queue[str] = asyncio.Queue()
        forged = Broker("127.0.0.1", site.port, site.pki / "ca.pem", foreign.certificate, foreign.key, pki.BROKER_NAME)
        stranger = Broker("127.0.0.1", site.port, foreign.ca, foreign.certificate, foreign.key, pki.BROKER_NAME)
        async with asyncio.timeout(HANG_S):
            for broker in (moved, forged, stranger):
                async with Link(broker, log=said.put_nowait) as link:
                    problem = await said.get()
                    assert not link.connected
            assert "not trusted" in problem, "an agent does not talk to a broker that its CA does not vouch for"


@pytest.mark.asyncio
async def test_a_broker_that_cannot_listen_says_so(running_site: Running, tmp_path: Path) -> None:
    async with running_site() as site:
        second = EmbeddedBroker(site.topology, site.pki, tmp_path / "second", Listen("127.0.0.1", site.port))
        with pytest.raises(BrokerError, match=f"cannot listen on 127.0.0.1 port {site.port}: Address already in use"):
            await second.start()
        foreign = EmbeddedBroker(site.topology, site.pki, tmp_path / "third", Listen("192.0.2.1", site.port))
        with pytest.raises(BrokerError, match="Cannot assign requested address"):
            await foreign.start()


@pytest.mark.asyncio
@pytest.mark.parametrize(("listen", "reached"), [("::", ("127.0.0.1", "::1")), ("0.0.0.0", ("127.0.0.1", "127.0.0.2"))])
async def test_listening_on_every_address(tmp_path: Path, listen: str, reached: tuple[str, ...]) -> None:
    site = Site(tmp_path)
    broker = EmbeddedBroker(site.topology, site.pki, site.state, Listen(listen, site.port))
    await broker.start()
    try:
        for host in reached:
            async with Link(replace(site.credentials("dev-1"), host=host)) as link:
                await connected(link)
    finally:
        await broker.stop()


@pytest.mark.asyncio
async def test_the_servers_own_protocol_lets_nobody_in(running_site: Running) -> None:
    async with running_site() as site:
        ports = {c.laddr.port for c in psutil.Process(site.broker.pid).net_connections() if c.status == "LISTEN"}
        addresses = {c.laddr.ip for c in psutil.Process(site.broker.pid).net_connections() if c.status == "LISTEN"}
        assert addresses == {"127.0.0.1"}
        (own,) = ports - {site.port}
        reader, writer = await asyncio.open_connection("127.0.0.1", own)
        async with asyncio.timeout(HANG_S):
            assert b'"tls_required":true' in await reader.readline()
            writer.write(b'CONNECT {"user":"segwatch://coordinator","pass":""}\r\nPING\r\n')
            rest = await reader.read(1000)
            assert b"PONG" not in rest
        writer.close()


@pytest.mark.asyncio
async def test_stop_leaves_no_process(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.broker.start()
    pid = site.broker.pid
    await site.broker.stop()
    assert not psutil.pid_exists(pid)


def test_it_does_not_outlive_its_parent(tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, sys\n"
        "from tests.loopback.estate import Site\n"
        "async def main():\n"
        "    site = Site(pathlib.Path(sys.argv[1]))\n"
        "    await site.broker.start()\n"
        "    print(site.broker.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout
        server = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    server.wait(HANG_S)
