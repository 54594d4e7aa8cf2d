"""What an open TCP port says: banner, HTTP answer, certificate. Equal bytes inside and outside show the same service."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl

from probes import payloads

BANNER_S, ANSWER_S, TLS_S = 0.25, 0.6, 1.0
LEAST = 8
VOLATILE = (b"date:", b"expires:", b"age:", b"set-cookie:", b"x-request-id:", b"etag:", b"last-modified:")


async def listen(connection: socket.socket, address: str, port: int, source: str) -> tuple[str, str]:
    """(digest of what it said in 16 hex or "", a note for people). Never raises: a refusal to talk is an answer too."""
    if port in payloads.TLS_FIRST:
        found = await tls(address, port, source)
        if found[0]:
            return found
    data = await _read(connection, BANNER_S)
    if not data:
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(connection, payloads.HTTP)
            data = await _read(connection, ANSWER_S)
    if len(data) < LEAST and port not in payloads.TLS_FIRST:
        found = await tls(address, port, source)
        if found[0]:
            return found
    if len(data) < LEAST:
        return "", "says nothing" if not data else f"says {len(data)} bytes"
    return digest(data), note(data)


async def tls(address: str, port: int, source: str) -> tuple[str, str]:
    """Handshake on a connection of its own; the digest is the certificate's. A failure is a note: the port is open."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    local = (source, 0) if source else None
    try:
        async with asyncio.timeout(TLS_S):
            _, writer = await asyncio.open_connection(address, port, ssl=context, local_addr=local)
    except (OSError, TimeoutError, ssl.SSLError) as error:
        return "", f"TLS failed: {type(error).__name__}"
    connection = writer.get_extra_info("ssl_object")
    certificate = connection.getpeercert(binary_form=True) or b""
    version = connection.version()
    writer.transport.abort()
    shown = hashlib.sha256(certificate).hexdigest()[:16]
    return shown, f"{version}, certificate sha256 {shown}…"


def digest(data: bytes) -> str:
    """SHA-256, 16 hex digits, of what was said without header lines that change by themselves."""
    lines = [line for line in data.split(b"\r\n") if not line.lower().startswith(VOLATILE)]
    return hashlib.sha256(b"\r\n".join(lines)).hexdigest()[:16]


def note(data: bytes) -> str:
    """Its first line, printable, at most 60 characters, and how much there was."""
    first = data.split(b"\n")[0].decode("ascii", "replace").strip()
    shown = "".join(c if c.isprintable() else "." for c in first)[:60]
    return f"{shown} ({len(data)} bytes)"


async def _read(connection: socket.socket, timeout_s: float) -> bytes:
    data = b""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(timeout_s):
            while len(data) < 4096:  # noqa: PLR2004 - enough to tell one service from another
                part = await asyncio.get_running_loop().sock_recv(connection, 4096)
                if not part:
                    break
                data += part
                if b"\n" in data and not data.startswith(b"HTTP/"):
                    break
    return data
