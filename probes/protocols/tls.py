"""TLS: a handshake with whoever answers, and what its certificate says. Nothing is verified."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from typing import Any

from reachability.texts import printable

HANDSHAKE_S = 1.5
MOST_READ = 64 * 1024
FIRST = frozenset(
    {443, 465, 636, 853, 989, 990, 993, 995, 2376, 5986, 6443, 8443, 9443, 10250}
)  # ports that speak it first


async def handshake(connection: socket.socket, name: str = "") -> tuple[bytes, str]:
    """(certificate in DER or b"", a note for people) over a connected, non-blocking socket, which is closed.

    Never raises for what the other side does.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=name or None)
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            await _shake_hands(connection, session, incoming, outgoing)
    except TimeoutError:
        return b"", "TLS failed: no answer to the ClientHello"
    except OSError as error:  # `ssl.SSLError` is one
        return b"", f"TLS failed: {_why(error)}"
    finally:
        connection.close()
    certificate: bytes = session.getpeercert(binary_form=True) or b""
    note = f"{session.version()}, certificate {fingerprint(certificate)}" if certificate else f"{session.version()}"
    return certificate, note


async def _shake_hands(
    connection: socket.socket, session: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> None:
    """Over the socket alone: a transport of asyncio's may outlive its socket, and is then found on the next one of its number."""
    loop, is_done = asyncio.get_running_loop(), False
    while not is_done:
        try:
            session.do_handshake()
            is_done = True
        except ssl.SSLWantReadError:
            pass
        if data := outgoing.read():
            await loop.sock_sendall(connection, data)
        if not is_done:
            data = await loop.sock_recv(connection, MOST_READ)
            if not data:
                raise ConnectionResetError
            incoming.write(data)


def fingerprint(certificate: bytes) -> str:
    """The first 16 hex digits of its SHA-256."""
    return hashlib.sha256(certificate).hexdigest()[:16]


def describe(certificate: bytes) -> dict[str, str]:
    """Subject, issuer, names and end of a certificate, for `segwatch probe`; {} for what cannot be read."""
    from cryptography import x509  # noqa: PLC0415 - 10 MB that only the command pays for

    try:
        read = x509.load_der_x509_certificate(certificate)
        return {
            "subject": printable(read.subject.rfc4514_string()),
            "issuer": printable(read.issuer.rfc4514_string()),
            "names": printable(_names(read)),
            "not_after": read.not_valid_after_utc.isoformat(),
        }
    except (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return {}


def _names(read: Any) -> str:
    from cryptography import x509  # noqa: PLC0415 - as above

    try:
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    return ", ".join(str(name.value) for name in names)


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "protocol error").lower().replace("_", " ")
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    return str(getattr(error, "strerror", None) or type(error).__name__)
