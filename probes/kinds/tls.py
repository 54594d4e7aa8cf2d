"""TLS: a handshake, and the certificate that is shown.

Proves: that a session can be made, and with what (the certificate's digest is the same from inside and outside, or not).
Suggests: by its certificate, whose service it is.
Blind to: whether the service would accept a client's certificate; nothing is verified, for any certificate is an answer.
Privilege: none.
On the wire: a TCP connection, a ClientHello with the name if there is one, then a close. A failure after the SYN-ACK is
an open port with a note.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import time
from typing import Any

from probes import classify
from probes.kinds.single import Ask, Found
from reachability.observation import Observation
from reachability.texts import printable
from reachability.vocabulary import Protocol, Reason, State

HANDSHAKE_S = 1.5
CONNECT_S = 3.0
FIRST = frozenset(
    {443, 465, 636, 853, 989, 990, 993, 995, 2376, 5986, 6443, 8443, 9443, 10250}
)  # ports that speak it first


async def handshake(connection: socket.socket, name: str = "") -> tuple[bytes, str]:
    """(certificate in DER or b"", a note for people) over a connected, non-blocking socket, which is closed.

    Never raises for what the other side does.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            _, writer = await asyncio.open_connection(sock=connection, ssl=context, server_hostname=name)
    except TimeoutError:
        connection.close()
        return b"", "TLS failed: no answer to the ClientHello"
    except (OSError, ssl.SSLError) as error:
        connection.close()
        return b"", f"TLS failed: {_why(error)}"
    session = writer.get_extra_info("ssl_object")
    certificate: bytes = session.getpeercert(binary_form=True) or b""
    note = f"{session.version()}, certificate {fingerprint(certificate)}" if certificate else f"{session.version()}"
    writer.transport.abort()
    return certificate, note


async def probe(ask: Ask) -> Found:
    """A connection to one TCP port, and a handshake on it."""
    connection = socket.socket(socket.AF_INET6 if ":" in ask.address else socket.AF_INET, socket.SOCK_STREAM)
    connection.setblocking(False)
    started = time.monotonic()
    try:
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(connection, (ask.address, ask.port))
    except TimeoutError:
        connection.close()
        return Found(_observation(ask, State.FILTERED, Reason.NO_RESPONSE))
    except OSError as error:
        connection.close()
        return Found(_observation(ask, *classify.from_errno(error.errno), note=error.strerror or ""))
    rtt_ms = round((time.monotonic() - started) * 1000, 3)
    certificate, note = await handshake(connection, ask.name)
    said = fingerprint(certificate) if certificate else ""
    found = _observation(ask, State.OPEN, Reason.SYN_ACK, note=note, said=said, rtt_ms=rtt_ms)
    return Found(found, lines=tuple(describe(certificate).items()) if certificate else ())


def _observation(
    ask: Ask, state: State, reason: Reason, *, note: str = "", said: str = "", rtt_ms: float | None = None
) -> Observation:
    return Observation(
        target=1,
        source_address="",
        address=ask.address,
        protocol=Protocol.TCP,
        kind="tls",
        name=ask.name,
        ports=str(ask.port),
        state=state,
        reason=reason,
        way="connect",
        kernel="open" if state is State.OPEN else "",
        said=said,
        note=note,
        rtt_ms=rtt_ms,
    )


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
