"""Bounds on connections: how many, of whom, how long a request's head and body may take and how large a head may be."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Protocol

import structlog
from aiohttp import web

from coordinator.api.auth import ApiError, Handler

MOST, MOST_OF_ONE = 256, 64
HANDSHAKE_S = 5.0
HEAD_S = 10.0  # for all of a request's head, from the connection or its first byte on
BODY_S = 10.0
IDLE_S = 30.0  # between two requests
MOST_HEAD = 64 * 1024  # bytes
ACCEPT_AGAIN_S = 0.5  # where the process may open no more files
BODIES = web.AppKey("bodies", Mapping[str, int])  # paths by which a body may be larger than others: bytes

log = structlog.get_logger("web")


class Timer(Protocol):
    """What `loop.call_later` returns."""

    def cancel(self) -> None: ...  # noqa: D102


class Places:
    """Connections, in all and by client: an IPv4 address, or an IPv6 network of 64 bits, which is one host's to choose from."""

    def __init__(self, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._taken: Counter[str] = Counter()
        self.refused = 0

    @contextlib.contextmanager
    def one(self, address: str) -> Iterator[bool]:
        """A place for the block; False where there is none."""
        client = _client(address)
        free = self._taken.total() < self._most and self._taken[client] < self._most_of_one
        if not free:
            self.refused += 1
            yield False
            return
        self._taken[client] += 1
        try:
            yield True
        finally:
            self._taken[client] -= 1
            self._taken += Counter()  # nobody's is kept


def _client(address: str) -> str:
    found = ip_address(address.partition("%")[0])
    if not isinstance(found, IPv6Address):
        return address
    return str(found.ipv4_mapped or IPv6Network((found, 64), strict=False))


class Door(asyncio.Protocol):
    """In front of aiohttp's own protocol: hangs up on a head that is late or long."""

    def __init__(self, inner: asyncio.Protocol, call_later: Callable[[float, Callable[[], None]], Timer]) -> None:
        self._inner, self._call_later = inner, call_later
        self._transport: asyncio.Transport | None = None
        self._timer: Timer | None = None
        self._expects, self._bytes = True, 0
        self.gone = asyncio.Event()

    def expect(self) -> None:
        """What comes now is the head of another request."""
        self._expects, self._bytes = True, 0

    def head_is_here(self) -> None:
        """A request is being answered."""
        self._expects = False
        self._no_timer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give it to aiohttp; its head has to come."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._inner.connection_made(transport)
        self._timer = self._call_later(HEAD_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """As aiohttp has it, within bounds. What comes in one piece is its to refuse."""
        assert self._transport is not None
        if self._expects:
            if self._bytes > MOST_HEAD:
                self._transport.abort()
                return
            self._bytes += len(data)
            self._timer = self._timer or self._call_later(HEAD_S, self._transport.abort)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """As aiohttp has it."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """As aiohttp has it."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """As aiohttp has it."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The place is free again."""
        self._no_timer()
        self._inner.connection_lost(exc)
        self.gone.set()

    def _no_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def accept(
    listening: socket.socket, places: Places, server: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None
) -> None:
    """Serve whoever connects, for ever: what is counted is counted before the handshake of TLS."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError:
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            group.create_task(_serve(connection, str(address[0]), places, server, tls), name="API connection")


async def _serve(
    connection: socket.socket,
    address: str,
    places: Places,
    server: Callable[[], asyncio.Protocol],
    tls: ssl.SSLContext | None,
) -> None:
    loop = asyncio.get_running_loop()
    with places.one(address) as free:
        if not free:
            connection.close()
            if places.refused.bit_count() == 1:  # the first, the second, the fourth: a flood fills no log
                log.warning("a connection to the API is refused: too many", client=address, refused=places.refused)
            return
        door = Door(server(), loop.call_later)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: door, connection, ssl=tls, ssl_handshake_timeout=HANDSHAKE_S if tls else None
            )
        except OSError:  # who does not speak TLS, or never ends its handshake
            return
        try:
            await door.gone.wait()
        finally:
            transport.abort()


@web.middleware
async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The head is here; whatever follows it is read by a deadline."""
    door = request.transport.get_protocol() if request.transport is not None else None
    if not isinstance(door, Door):
        return await handler(request)
    door.head_is_here()
    try:
        return await handler(request)
    finally:
        door.expect()


@web.middleware
async def whole_body(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The body, of which aiohttp bounds the size, is read before anything is done; by some paths it may be larger."""
    most = request.app[BODIES].get(request.path)
    request = request if most is None else request.clone(client_max_size=most)
    try:
        async with asyncio.timeout(BODY_S):
            await request.read()
    except TimeoutError as error:
        raise ApiError(408, f"the body did not come within {BODY_S:.0f} s") from error
    return await handler(request)
