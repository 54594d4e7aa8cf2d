"""`python -m lab.serving KIND/PORT ...`: what an estate's hosts serve, in one process per host, over IPv4 and IPv6.

http, https (with a certificate of its own making), redis (enough of it to say what it is) and statsd (which never answers).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
import sys
import tempfile
from pathlib import Path

PAGES = {5000: "MLflow", 8080: "inference", 8265: "Ray Dashboard", 8443: "inference", 8888: "Jupyter Server"}


async def serve(wanted: list[str]) -> None:
    """Listen until killed."""
    for text in wanted:
        kind, _, port = text.partition("/")
        match kind:
            case "http":
                await asyncio.start_server(_http, None, int(port))
            case "https":
                await asyncio.start_server(_http, None, int(port), ssl=_tls())
            case "redis":
                await asyncio.start_server(_redis, None, int(port))
            case "statsd":
                loop = asyncio.get_running_loop()
                await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("::", int(port)))
            case _:
                raise SystemExit(f"unknown kind '{kind}'")
    await asyncio.Event().wait()


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(5):
            await reader.readuntil(b"\r\n\r\n")
            name = PAGES.get(writer.get_extra_info("sockname")[1], "service")
            body = f"<!doctype html><title>{name}</title><h1>{name}</h1>\n".encode()
            head = f"HTTP/1.1 200 OK\r\nServer: {name}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
    await _hang_up(writer)


async def _redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(5):
            while line := await reader.readline():
                known = line.strip().upper() in {b"PING", b"*1"}
                writer.write(b"+PONG\r\n" if known else b"-ERR unknown command\r\n")
                await writer.drain()
    await _hang_up(writer)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()


def _tls() -> ssl.SSLContext:
    from cryptography import x509  # noqa: PLC0415 - only a TLS service needs it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "inference.internal")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("inference.internal")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    both = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "server.pem"
        path.touch(mode=0o600)
        path.write_bytes(both + certificate.public_bytes(pem))
        context.load_cert_chain(path)
    return context


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:]))
