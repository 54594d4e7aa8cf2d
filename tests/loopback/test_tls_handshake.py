"""A TLS handshake with whoever answers: what it tells, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from probes.protocols import tls
from tests.support.waiting import HANG_S
from tests.support.web_certificate import issue, make_ca

Talks = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def server(talks: Talks, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Its port. Ends when all who connected have gone."""
    over: list[asyncio.Event] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over.append(asyncio.Event())
        mine = over[-1]
        with contextlib.suppress(OSError):
            await talks(reader, writer)
        writer.close()
        mine.set()

    async with await asyncio.start_server(once, "127.0.0.1", 0, ssl=context) as running:
        yield running.sockets[0].getsockname()[1]
        async with asyncio.timeout(HANG_S):
            for each in over:
                await each.wait()


async def connected(port: int) -> socket.socket:
    connection = socket.socket()
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    return connection


async def waits(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def hangs_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def speaks_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
    await reader.read()


def own(tmp_path: Path, version: ssl.TLSVersion) -> ssl.SSLContext:
    certificate, key = issue(make_ca(tmp_path / "ca"), tmp_path, "web")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.asyncio
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["", "web.internal"])
async def test_a_certificate_is_read(tmp_path: Path, version: ssl.TLSVersion, name: str) -> None:
    context = own(tmp_path, version)
    async with server(waits, context) as port:
        certificate, note = await tls.handshake(await connected(port), name)
    assert tls.describe(certificate)["subject"] == "CN=broker"
    assert note == f"{version.name.replace('_', '.')}, certificate {tls.fingerprint(certificate)}"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("talks", "why"),
    [(hangs_up, "connection reset"), (speaks_http, "wrong version number"), (waits, "no answer to the ClientHello")],
)
async def test_what_is_no_tls_is_told_in_words(monkeypatch: pytest.MonkeyPatch, talks: Talks, why: str) -> None:
    if talks is waits:
        monkeypatch.setattr(tls, "HANDSHAKE_S", 0.05)
    async with server(talks) as port:
        assert await tls.handshake(await connected(port)) == (b"", f"TLS failed: {why}")


def answers(
    listening: socket.socket, context: ssl.SSLContext, stalled: threading.Event, answered: threading.Event
) -> None:
    """The server's part of a handshake, which begins when the client is stalled, and of which the connection stays."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_side=True)
    with listening.accept()[0] as connection:
        incoming.write(connection.recv(65536))
        stalled.wait(HANG_S)
        with contextlib.suppress(ssl.SSLWantReadError):
            session.do_handshake()
        connection.sendall(outgoing.read())
        answered.set()
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                pass


@pytest.mark.asyncio
async def test_of_one_that_ends_as_its_time_is_over_nothing_is_left_on_the_next_socket_of_that_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy host both are found in one turn of the loop: its connection failed another one, and with it the round."""
    context = own(tmp_path, ssl.TLSVersion.TLSv1_3)
    monkeypatch.setattr(tls, "HANDSHAKE_S", 0.2)
    stalled, answered = threading.Event(), threading.Event()
    loop, over = asyncio.get_running_loop(), time.monotonic() + 0.4

    def stall() -> None:
        stalled.set()
        answered.wait(HANG_S)
        time.sleep(max(0.0, over - time.monotonic()))

    async with server(speaks_http) as port:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            serving = threading.Thread(target=answers, args=(listening, context, stalled, answered), daemon=True)
            serving.start()
            first = await connected(listening.getsockname()[1])
            number = first.fileno()
            loop.call_later(0.05, stall)
            assert await tls.handshake(first) == (b"", "TLS failed: no answer to the ClientHello")
            with await connected(port) as second:
                assert second.fileno() == number, "or this shows nothing"
                assert (await loop.sock_recv(second, 8)) == b"HTTP/1.0"
    await asyncio.to_thread(serving.join, HANG_S)
