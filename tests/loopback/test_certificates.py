"""Certificates against a real broker: revoked, renewed, refused, and the broker's own."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from agent.config import AgentConfig
from coordinator.broker import pki
from coordinator.broker.addresses import Listen
from coordinator.broker.embedded import EmbeddedBroker
from coordinator.broker.issuing import Renewals
from coordinator.broker.own import OwnCertificates
from tests.loopback import brokers
from tests.loopback.agents import agent, configure
from tests.loopback.coordinators import Running as Process
from tests.loopback.coordinators import coordinator
from tests.loopback.estate import Running, Site, connected
from tests.loopback.middle import Middle
from tests.support.waiting import HANG_S, until, wait_for
from wire.certificates import agent_uri
from wire.dial import Broker, dial
from wire.messages import Renew, Renewed, Status
from wire.mqtt import Link, NotConnected
from wire.topics import DownChannel, UpChannel, UpTopic, all_down, all_up, down, up

TOPIC = UpTopic("dev", "dev-1", UpChannel.ROUND)


async def refusal(broker: Broker) -> str:
    """Why the broker does not let these credentials in."""
    said: asyncio.Queue[str] = asyncio.Queue()
    async with asyncio.timeout(HANG_S), Link(broker, log=said.put_nowait) as link:
        problem = await said.get()
        assert not link.connected
        return problem


@pytest.mark.asyncio
async def test_a_stolen_bundle_is_cut_at_once_and_a_new_one_is_let_in(running_site: Running, tmp_path: Path) -> None:
    async with running_site() as site:
        stolen = site.credentials("dev-1")
        (tmp_path / "thief").mkdir()
        for path in (stolen.certificate, stolen.key):
            (tmp_path / "thief" / path.name).write_bytes(path.read_bytes())
        thief = replace(stolen, certificate=tmp_path / "thief" / "dev-1.pem", key=tmp_path / "thief" / "dev-1.key")
        owner, stealing, other = Link(stolen), Link(thief), Link(site.credentials("prod-1"))
        async with other:
            async with owner, stealing:
                await connected(owner, stealing, other)
                pki.revoke(site.pki, "dev-1", dt.datetime.now(dt.UTC))
                await site.broker.revoke(pki.revocations(site.pki))
                await until(lambda: not owner.connected and not stealing.connected)
            fresh = Link(site.credentials("dev-1"))  # over the same files, as on the agent's host
            async with fresh:
                await connected(fresh)
            assert "it does not let this certificate in: it is revoked" in await refusal(thief)
            assert other.connections == 1, "nobody else notices"


@pytest.mark.asyncio
async def test_without_a_running_coordinator_it_takes_effect_at_the_next_start(running_site: Running) -> None:
    async with running_site() as site:
        stolen = site.credentials("dev-1")
        await site.broker.stop()
        pki.revoke(site.pki, "dev-1", dt.datetime.now(dt.UTC))
        again = EmbeddedBroker(
            site.topology,
            site.pki,
            site.state,
            Listen("127.0.0.1", site.port),
            generations=pki.revocations(site.pki),
        )
        await again.start()
        try:
            assert "it is revoked" in await refusal(stolen)
        finally:
            await again.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
async def test_a_broker_of_ones_own_has_no_use_for_a_revoked_one(tmp_path: Path, kind: str) -> None:
    site = Site(tmp_path)
    issued = pki.issue_agent(site.pki, "dev", "dev-1", dt.datetime.now(dt.UTC))
    (tmp_path / "stolen.pem").write_bytes(issued.certificate + issued.key)
    pki.revoke(site.pki, "dev-1", dt.datetime.now(dt.UTC))
    node = getattr(brokers, kind)(site.topology, site.pki, tmp_path / "node")
    with brokers.running(node):
        owner = replace(site.credentials("dev-1"), port=node.port)
        stolen = replace(owner, certificate=tmp_path / "stolen.pem", key=tmp_path / "stolen.pem")
        middle = Link(replace(site.broker.endpoint(), port=node.port), subscriptions=("segwatch/#",))
        agent = Link(owner, subscriptions=all_down("dev", "dev-1"))
        thief = Link(stolen, subscriptions=all_down("dev", "dev-1"))
        async with middle, agent, thief:
            await connected(middle, agent)
            await asyncio.sleep(0.5)  # Mosquitto lets it in, to nothing
            with contextlib.suppress(NotConnected):
                await thief.publish(up("dev", "dev-1", UpChannel.ROUND), b"stolen")
            await agent.publish(up("dev", "dev-1", UpChannel.ROUND), b"own")
            await middle.publish(down("dev", "dev-1", DownChannel.PLAN), b"secret")
            for link, wanted in ((agent, b"secret"), (middle, b"own")):
                async with asyncio.timeout(HANG_S):
                    assert (await anext(link.messages())).payload == wanted
            assert not thief._incoming.qsize()


@pytest.mark.asyncio
async def test_one_that_has_ended_is_refused_and_said_so(running_site: Running) -> None:
    async with running_site() as site:
        broker = site.credentials("dev-1")
        ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=91)
        issued = pki.issue_agent(site.pki, "dev", "dev-1", ago)
        broker.certificate.write_bytes(issued.certificate)
        broker.key.write_bytes(issued.key)
        assert "it refuses this certificate: certificate expired" in await refusal(broker)


@pytest.mark.asyncio
async def test_the_broker_renews_its_own_while_connections_live_on(tmp_path: Path) -> None:
    site = Site(tmp_path)
    broker = EmbeddedBroker(
        site.topology, site.pki, site.state, Listen("127.0.0.1", site.port), life=dt.timedelta(days=9)
    )
    await broker.start()
    try:
        credentials = site.credentials("dev-1")

        def shown() -> int:
            with dial(credentials) as sock:
                assert isinstance(sock, ssl.SSLSocket)
                der = sock.getpeercert(binary_form=True)
            assert der
            return x509.load_der_x509_certificate(der).serial_number

        now = dt.datetime.now(dt.UTC)
        async with Link(credentials) as link:
            await connected(link)
            first = await asyncio.to_thread(shown)
            assert not await broker.renew(now + dt.timedelta(days=5))
            week = dt.timedelta(days=7).total_seconds()
            broker.valid = (broker.valid[0] - week, broker.valid[1] - week)
            assert await broker.renew(now)
            assert broker.valid[1] == pytest.approx((now + dt.timedelta(days=9)).timestamp(), abs=120)
            async with asyncio.timeout(HANG_S):
                while await asyncio.to_thread(shown) == first:  # noqa: ASYNC110 - another process does it
                    await asyncio.sleep(0.02)
            await link.publish(up("dev", "dev-1", UpChannel.STATUS), b"still here")
            assert link.connections == 1
    finally:
        await broker.stop()


@pytest.mark.asyncio
async def test_the_coordinator_renews_its_own_while_its_connection_lives_on(running_site: Running) -> None:
    async with running_site() as site:
        now = dt.datetime.now(dt.UTC)
        pki.issue_coordinator(site.pki, now - dt.timedelta(days=61))
        held = site.pki / "coordinator.pem"
        own, first = OwnCertificates(site.pki, site.broker), held.read_bytes()
        async with (
            Link(site.broker.endpoint(), subscriptions=all_up()) as link,
            Link(site.credentials("dev-1")) as other,
        ):
            await connected(link, other)
            await own.care(now)
            assert held.read_bytes() != first
            await other.publish(up("dev", "dev-1", UpChannel.STATUS), b"while it lives on")
            async with asyncio.timeout(HANG_S):
                assert (await anext(link.messages())).payload == b"while it lives on"
            assert link.connections == 1
            site.broker.restart()
            async with asyncio.timeout(HANG_S):
                await link.wait_connected(after=1)
            assert not link.problem


def test_a_coordinator_whose_own_ended_while_it_was_off_starts_and_shows_when_the_new_one_ends(tmp_path: Path) -> None:
    ended = (
        "import datetime as dt, pathlib; from coordinator.broker import pki;"
        " pki.issue_coordinator(pathlib.Path('pki'), dt.datetime.now(dt.UTC) - dt.timedelta(days=100))"
    )
    with coordinator(tmp_path, before=ended) as running:
        wait_for(lambda: _status(running)["broker"]["connected"])
        shown = _status(running)["certificates"]
        assert {holder: (round(held["days"]), held["soon"]) for holder, held in shown.items()} == {
            "ca": (3650, False),
            "coordinator": (90, False),
            "broker": (90, False),
        }
        running.process.terminate()
        assert running.process.stderr is not None
        said = running.process.stderr.read()
    assert "renewed" in said
    assert "not connected to the broker" not in said, "it never showed the old one"


def _status(running: Process) -> Any:
    done = running.request("GET", "/api/v1/status")
    return json.loads(done[1])


# -- renewal by the agent ---------------------------------------------------------------------------------------------


def lasting(site: Site, directory: Path, seconds: float) -> AgentConfig:
    """An agent's state directory with a certificate of a short life."""
    config = configure(site, directory)
    issued = pki.issue_agent(site.pki, "dev", "dev-1", dt.datetime.now(dt.UTC), dt.timedelta(seconds=seconds))
    (directory / "agent.pem").write_bytes(issued.certificate)
    (directory / "agent.key").write_bytes(issued.key)
    return config


def renewals(site: Site, middle: Middle, life_s: float) -> Renewals:
    async def post(_: str, answer: Renewed) -> None:
        await middle.tell(answer)

    return Renewals(
        site.pki,
        post,
        generation_of=lambda _: 0,
        told=lambda *_: None,
        clock=time.time,
        life=dt.timedelta(seconds=life_s),
    )


@pytest.mark.long
@pytest.mark.asyncio
async def test_an_agent_goes_on_beyond_its_first_certificate(running_site: Running, tmp_path: Path) -> None:
    async with running_site() as site:
        middle, state = Middle(site), tmp_path / "agent"
        config = lasting(site, state, 20)  # of which it needs a few until it is connected
        signing = renewals(site, middle, 30 * 86400)
        async with middle.link, asyncio.TaskGroup() as group:
            answering = group.create_task(signing.run(), name="renewals")
            async with agent(config, state):
                first = await middle.hear(Status, lambda said: said.certificate_until > 0)
                signing.ask(TOPIC, await middle.hear(Renew))
                renewed = await middle.hear(Status, lambda said: said.certificate_until > first.certificate_until)
                assert renewed.certificate_until > time.time() + 29 * 86400
                assert renewed.instance == first.instance
                while time.time() < first.certificate_until + 1:  # noqa: ASYNC110 - time passes without an event
                    await asyncio.sleep(0.2)
            assert (state / "renewed.pem").stat().st_mode & 0o777 == 0o600
            await _is_let_in_by_the_new_one_alone(site, state)
            async with agent(config, state) as again:
                await middle.hear(Status, lambda said: said.online and said.instance != first.instance)
                assert again._link.problem == ""
            answering.cancel()


async def _is_let_in_by_the_new_one_alone(site: Site, state: Path) -> None:
    old = replace(site.credentials("prod-1"), certificate=state / "agent.pem", key=state / "agent.key")
    assert "certificate expired" in await refusal(old)
    async with Link(replace(old, certificate=state / "renewed.pem", key=state / "renewed.pem")) as link:
        await connected(link)


@pytest.mark.asyncio
async def test_a_renewed_one_that_the_broker_refuses_leaves_the_old_one_in_use(
    running_site: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed by the CA, for the agent's key and name, and yet not let in: of a generation that is not in force."""
    async with running_site() as site:
        middle, state = Middle(site), tmp_path / "agent"
        config = configure(site, state)
        monkeypatch.setattr("agent.renewal.renew_at", lambda *_: 0.0)
        async with middle.link, agent(config, state) as daemon:
            request = (await middle.hear(Renew)).request
            foreign = pki.sign_request(site.pki, agent_uri("dev", "dev-1", 99), request, dt.datetime.now(dt.UTC))
            tried: list[str] = []
            ordinary = daemon._renewal._try_out

            async def try_out(path: Path) -> str:
                tried.append(await ordinary(path))
                return tried[-1]

            daemon._renewal._try_out = try_out
            await middle.tell(Renewed(certificate=foreign.certificate))
            await until(lambda: tried)
            assert "it does not let this certificate in" in tried[0]
            assert daemon._link.connected
            assert daemon._link.connections == 1, "the old connection was never given up"
        assert not (state / "renewed.pem").exists()
        assert not (state / "next.pem").exists()
