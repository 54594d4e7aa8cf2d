"""What answers agents' source controls: a keyed UDP echo, of rounds that it knows, and TCP where no broker listens."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import socket
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

TOKEN = 8
KEEP_S = 120.0
MOST_REQUEST = 64
LONGEST_ROUND_S = 6 * 3600.0


class _Known(NamedTuple):
    """A round's key, and until when it is answered by (the clock of `now`)."""

    key: bytes
    until: float


class Echo:
    """Request: eight token bytes, then the round's id. Answer: HMAC-SHA256(key, "echo" + request), 16 bytes."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._keys: dict[bytes, _Known] = {}
        self._transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []

    async def listen(self, addresses: Iterable[str], port: int) -> tuple[str, ...]:
        """Listen on each of the addresses; returns those at which it does."""
        listening = []
        for address in addresses:
            kind = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: _Answering(self), local_addr=(address, port), family=kind
                )
            except OSError:  # taken by another program: there is no UDP control at that address
                continue
            self._transports.append(transport)
            listening.append(address)
        return tuple(listening)

    async def accept(self, addresses: Iterable[str], port: int) -> None:
        """Take TCP connections at addresses that the broker does not listen on, only to close them."""
        for address in addresses:
            with contextlib.suppress(OSError):  # the broker is there already, or another program
                self._servers.append(await asyncio.start_server(_hang_up, address, port))

    def know(self, round_id: str, key: bytes) -> None:
        """Answer for this round from now on."""
        now = self._now()
        self._keys = {name: entry for name, entry in self._keys.items() if entry.until > now}
        self._keys[round_id.encode()] = _Known(key, now + LONGEST_ROUND_S)

    def forget(self, round_id: str) -> None:
        """The round is over: answer what is still on its way, then no more."""
        entry = self._keys.get(round_id.encode())
        if entry is not None:
            self._keys[round_id.encode()] = entry._replace(until=self._now() + KEEP_S)

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.close()
        for transport in self._transports:
            transport.close()

    def answer(self, request: bytes) -> bytes | None:
        """The answer to a request; None for one that no round of ours explains."""
        if not TOKEN < len(request) <= MOST_REQUEST:
            return None
        entry = self._keys.get(request[TOKEN:])
        if entry is None or entry.until < self._now():
            return None
        return hmac.digest(entry.key, b"echo" + request, "sha256")[:16]


def _hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


class _Answering(asyncio.DatagramProtocol):
    """One per socket, so that an answer leaves from the address that was asked."""

    def __init__(self, echo: Echo) -> None:
        self._echo = echo
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # not a subclass of it before Python 3.12

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._echo.answer(data)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)
