"""What an open TCP port says: banner, HTTP answer, certificate. Equal bytes inside and outside show the same service."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from probes.protocols import tls

BANNER_S, ANSWER_S = 0.25, 0.6
LEAST = 8
MOST = 4096  # enough to tell one service from another
HTTP = b"GET / HTTP/1.0\r\nUser-Agent: segwatch\r\nAccept: */*\r\n\r\n"
# Header lines that change of their own accord from one answer to the next.
VOLATILE = (b"date:", b"expires:", b"age:", b"set-cookie:", b"x-request-id:", b"etag:", b"last-modified:")


@dataclass(frozen=True, slots=True)
class Said:
    """`digest`: 16 hex digits of eight bytes or more that it said, or "". `kind`: the probe kind that got it."""

    digest: str = ""
    note: str = ""
    kind: str = ""


async def listen(connection: socket.socket, port: int, name: str, dial: Callable[[], Awaitable[socket.socket]]) -> Said:
    """Ask a connected socket what it is; `dial` makes another connection. Never raises: a refusal to talk is an answer."""
    if port in tls.FIRST:
        found = await _tls(name, dial)
        if found.digest:
            return found
    data = await _read(connection, BANNER_S)
    if not data:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await asyncio.get_running_loop().sock_sendall(connection, HTTP)
            data = await _read(connection, ANSWER_S)
    if len(data) >= LEAST:
        return Said(digest(data), note(data))
    if port in tls.FIRST:
        return found
    found = await _tls(name, dial)
    if found.digest:
        return found
    return Said("", "says nothing" if not data else f"says {len(data)} bytes")


def digest(data: bytes) -> str:
    """SHA-256, 16 hex digits, of what was said without header lines that change by themselves."""
    lines = [line for line in data.split(b"\r\n") if not line.lower().startswith(VOLATILE)]
    return hashlib.sha256(b"\r\n".join(lines)).hexdigest()[:16]


def note(data: bytes) -> str:
    """Its first line, printable, at most 60 characters, and how much there was."""
    first = data.split(b"\n")[0].decode("ascii", "replace").strip()
    shown = "".join(c if c.isprintable() and c.isascii() else "." for c in first)[:60]
    return f"{shown} ({len(data)} bytes)"


async def _tls(name: str, dial: Callable[[], Awaitable[socket.socket]]) -> Said:
    try:
        connection = await dial()
    except (OSError, TimeoutError) as error:
        return Said("", f"TLS not tried: {getattr(error, 'strerror', None) or 'no second connection'}")
    certificate, text = await tls.handshake(connection, name)
    return Said(tls.fingerprint(certificate) if certificate else "", text, "tls" if certificate else "")


async def _read(connection: socket.socket, timeout_s: float) -> bytes:
    data = b""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(timeout_s):
            while len(data) < MOST:
                part = await asyncio.get_running_loop().sock_recv(connection, MOST)
                if not part:
                    break
                data += part
                if b"\n" in data and not data.startswith(b"HTTP/"):
                    break
    return data
