"""A host enrols itself: a real coordinator, its real broker, real TLS."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.config import broker_of, load
from coordinator.broker import pki
from coordinator.broker.addresses import Whereabouts
from tests.loopback.coordinators import Running, coordinator
from tests.loopback.estate import connected
from tests.loopback.hosts import TOPOLOGY, join, token
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, until
from wire import joining
from wire.dial import Broker
from wire.mqtt import Link


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with coordinator(tmp_path_factory.mktemp("coordinator"), topology=TOPOLOGY) as made:
        yield made


def link_of(state: Path) -> Link:
    return Link(broker_of(load(state), state))


@pytest.mark.asyncio
async def test_a_stolen_token_is_good_for_nothing_once_it_was_used(running: Running, tmp_path: Path) -> None:
    line = token(running)
    joined = await asyncio.to_thread(join, line, tmp_path / "ours")
    assert joined.returncode == 0, joined.stderr
    assert "dev-1 of dev is enrolled; its key was made here" in joined.stdout
    held = load(tmp_path / "ours")
    assert {"10.10.0.0/24", "10.30.0.0/24", "127.0.0.1"} <= set(held.allow)
    key = (tmp_path / "ours" / "agent.key").read_bytes()
    assert not [path for path in (running.directory).rglob("*") if path.is_file() and key in path.read_bytes()]
    async with link_of(tmp_path / "ours") as link:
        await connected(link)
        thief = await asyncio.to_thread(join, line, tmp_path / "theirs")
        assert thief.returncode == 2
        assert "the token was used at" in thief.stderr
        assert "Traceback" not in thief.stderr
        assert not (tmp_path / "theirs" / "agent.json").exists()
        assert link.connections == 1


@pytest.mark.asyncio
async def test_a_second_enrolment_ends_the_live_connection_of_the_first(running: Running, tmp_path: Path) -> None:
    first = await asyncio.to_thread(join, token(running, "prod-1"), tmp_path / "first")
    assert first.returncode == 0, first.stderr
    async with link_of(tmp_path / "first") as old:
        await connected(old)
        second = await asyncio.to_thread(join, token(running, "prod-1"), tmp_path / "second")
        assert second.returncode == 0, second.stderr
        await until(lambda: "it is revoked" in old.problem)
    async with link_of(tmp_path / "second") as old:
        await connected(old)
        made = await asyncio.to_thread(
            running.cli, "pki", "agent", "prod-1", "--dir", "pki", "-f", "topology.yaml", "--out", "prod-1.tar"
        )
        assert made.returncode == 0, made.stderr
        assert "prod-1 was enrolled before: what it had is refused from now on" in made.stderr
        await until(lambda: "it is revoked" in old.problem)


@contextmanager
def foreign(directory: Path) -> Iterator[tuple[int, list[str]]]:
    """A server with a certificate of another CA, that writes down what became of a handshake and what it then read."""
    now = dt.datetime.now(dt.UTC)
    pki.init(directory / "pki", now)
    issued = pki.server_certificate(directory / "pki", ("127.0.0.1",), now)
    (directory / "server.pem").write_bytes(issued.certificate + issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(directory / "pki" / "ca.pem")
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            plain, _ = server.accept()
            plain.settimeout(HANG_S)
            try:
                with context.wrap_socket(plain, server_side=True) as secured:
                    said.append(f"read {secured.read()!r}")
            except OSError as error:
                said.append(f"handshake: {error}")
            finally:
                plain.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], said
        thread.join(HANG_S)


def test_a_server_of_another_ca_is_told_nothing(running: Running, tmp_path: Path) -> None:
    line = token(running)
    with foreign(tmp_path) as (port, said):
        refused = join(line, tmp_path / "state", "--coordinator", f"127.0.0.1:{port}")
    assert refused.returncode == 2
    assert "its certificate is not of the CA that the token names" in refused.stderr
    assert "nothing was sent" in refused.stderr
    assert len(said) == 1
    assert "UNKNOWN_CA" in said[0].upper().replace(" ", "_"), said
    assert not (tmp_path / "state" / "agent.json").exists()
    assert join(line, tmp_path / "state").returncode == 0, "the token is as good as before"


def test_nobody_there_and_somebody_already_here(running: Running, tmp_path: Path) -> None:
    line = token(running)
    nobody = join(line, tmp_path / "state", "--coordinator", f"127.0.0.1:{free_port()}")
    assert nobody.returncode == 2
    assert "it is not reachable from here" in nobody.stderr
    assert join(line, tmp_path / "state").returncode == 0
    again = join(token(running), tmp_path / "state")
    assert again.returncode == 2
    assert "already holds agent dev-1" in again.stderr
    anew = join(token(running), tmp_path / "state", "--again")
    assert anew.returncode == 0, anew.stderr
    other = join(token(running, "prod-1"), tmp_path / "state", "--again")
    assert other.returncode == 2
    assert "is the state directory of agent dev-1" in other.stderr


@pytest.mark.asyncio
async def test_a_token_opens_the_way_of_joining_alone_and_only_while_one_waits(
    running: Running, tmp_path: Path
) -> None:
    held = joining.read_token(token(running))
    (tmp_path / "token.pem").write_bytes(held.certificate + held.key)
    broker = Whereabouts.of(running.directory / "pki").broker
    pem = tmp_path / "token.pem"

    where = Broker.parse(
        broker, ca=running.directory / "pki" / "ca.pem", certificate=pem, key=pem, server_name=held.server_name
    )
    async with Link(where, subscriptions=("segwatch/v1/#",)) as greedy:
        await until(lambda: "refuses the subscription" in greedy.problem)
    async with Link(where, subscriptions=(f"{joining.ANSWERS}/00",)) as allowed:
        await connected(allowed)
        for path in (running.directory / "pki" / "joins").iterdir():
            path.unlink()
        await until(lambda: not allowed.connected)
