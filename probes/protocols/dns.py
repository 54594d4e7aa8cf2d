"""DNS (RFC 1035): queries, what a reply says, and names as this host's resolver or one server knows them."""

from __future__ import annotations

import asyncio
import socket
import struct

from wire.process.blocking import in_thread

TXT, CHAOS = 16, 3
CODES = {0: "no error", 1: "format error", 2: "server failure", 3: "no such name", 4: "not implemented", 5: "refused"}
LOOKUP_S, TRIES, ANSWER_S = 5.0, 3, 1.0


# version.bind TXT CH, which names nobody: what a server is asked whose zones are not known.
VERSION = struct.pack("!6H", 0x5E67, 0x0100, 1, 0, 0, 0) + b"\x07version\x04bind\0" + struct.pack("!HH", TXT, CHAOS)


def describe(reply: bytes) -> str:
    """A DNS reply in words, "" when it is not one."""
    if len(reply) < 12 or not reply[2] & 0x80:  # noqa: PLR2004 - a header; the answer bit
        return ""
    answers = struct.unpack_from("!H", reply, 6)[0]
    return f"DNS: {CODES.get(reply[3] & 15, f'code {reply[3] & 15}')}, {answers} answer{'' if answers == 1 else 's'}"


async def resolve(name: str, timeout_s: float = LOOKUP_S) -> tuple[tuple[str, ...], str]:
    """(addresses, why there are none): what this host's own resolver says, bounded in time, at exit too."""
    try:
        async with asyncio.timeout(timeout_s):
            found = await in_thread(lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM), "resolve")
    except TimeoutError:
        return (), f"no answer within {timeout_s:g} s"
    except (OSError, UnicodeError) as error:
        return (), str(getattr(error, "strerror", None) or error)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found)), ""


async def query_server(server: str, name: str, port: int = 53) -> tuple[tuple[str, ...], str]:
    """(addresses, the server's answer in words) of a query to one server; ("" words: silence).

    Raises:
        OSError: it is refused.
        ValueError: there can be no such name.
    """
    found: list[str] = []
    words = ""
    for kind in ("A", "AAAA"):
        reply = await exchange(server, port, query(name, kind))
        words = words or describe(reply)
        found.extend(addresses(reply))
    return tuple(found), words


def query(name: str, kind: str) -> bytes:
    """A query with recursion desired; ValueError for what is not a name."""
    from dns.exception import DNSException  # noqa: PLC0415 - dnspython, for `segwatch probe` alone
    from dns.message import make_query  # noqa: PLC0415

    try:
        return make_query(name, kind).to_wire()
    except DNSException as error:
        raise ValueError(f"'{name}' is not a name that DNS can have: {error}") from error


def addresses(reply: bytes) -> tuple[str, ...]:
    """The A and AAAA records of a reply's answer section; what is not whole ends the list."""
    from dns.exception import DNSException  # noqa: PLC0415
    from dns.message import from_wire  # noqa: PLC0415
    from dns.rdataclass import IN  # noqa: PLC0415
    from dns.rdatatype import AAAA, A  # noqa: PLC0415

    try:
        message = from_wire(reply, ignore_trailing=True, continue_on_error=True)
    except DNSException:
        return ()  # a server may send anything
    records = (record for answer in message.answer if answer.rdclass == IN for record in answer)
    return tuple(record.address for record in records if record.rdtype in {A, AAAA})


async def exchange(server: str, port: int, request: bytes) -> bytes:
    """The reply to a datagram, b"" for silence; OSError when it is refused. A reply must carry the request's number."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, (server, port))
        for _ in range(TRIES):
            await loop.sock_sendall(connection, request)
            try:
                async with asyncio.timeout(ANSWER_S):
                    while True:
                        reply = await loop.sock_recv(connection, 4096)
                        if reply[:2] == request[:2]:
                            return reply
            except TimeoutError:
                continue
    return b""
