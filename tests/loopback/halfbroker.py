"""A broker that does what it is told, badly: TLS, and just enough MQTT to answer one packet or none."""

import asyncio
import contextlib
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from coordinator.broker import pki
from tests.loopback.estate import Site

CONNECT, SUBSCRIBE, PUBLISH = 0x10, 0x82, 0x32  # of QoS 1
ACCEPTED, WRONG_PROTOCOL = b"\x20\x02\x00\x00", b"\x20\x02\x00\x01"

Serve = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.client_id = ""
        self.published = (b"", b"")  # payload and packet identifier of the newest

    async def packet(self) -> int:
        """Read one packet; its first byte."""
        (first,) = await self._reader.readexactly(1)
        length = shift = 0
        while True:
            (more,) = await self._reader.readexactly(1)
            length |= (more & 0x7F) << shift
            shift += 7
            if not more & 0x80:
                break
        body = await self._reader.readexactly(length)
        if first == CONNECT:  # ten bytes of header, then the id with its length
            self.client_id = body[12 : 12 + int.from_bytes(body[10:12])].decode()
        if first == PUBLISH:  # the topic with its length, then the identifier
            rest = body[2 + int.from_bytes(body[:2]) :]
            self.published = rest[2:], rest[:2]
        return first

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


@contextlib.asynccontextmanager
async def half_broker(site: Site, serve: Serve) -> AsyncIterator[None]:
    """At the site's port, with a certificate of its CA; a connection ends when `serve` returns."""
    pki.issue_server(site.pki, ("127.0.0.1",), dt.datetime.now(dt.UTC))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(site.pki / "broker.pem", site.pki / "broker.key")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await serve(Peer(reader, writer))
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", site.port, ssl=context):
        yield
