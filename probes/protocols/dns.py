"""DNS (RFC 1035): queries, what a reply says, and names as this host's resolver or one server knows them."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import struct

from wire.process.blocking import in_thread

A, TXT, AAAA = 1, 16, 28
IN, CHAOS = 1, 3
CODES = {0: "no error", 1: "format error", 2: "server failure", 3: "no such name", 4: "not implemented", 5: "refused"}
LOOKUP_S, TRIES, ANSWER_S = 5.0, 3, 1.0


def query(name: str, kind: int, number: int, dns_class: int = IN) -> bytes:
    """A query with recursion desired (RFC 1035 §4.1)."""
    labels = b"".join(
        bytes([len(label)]) + label.encode("ascii", "replace") for label in name.rstrip(".").split(".") if label
    )
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, dns_class)


VERSION = query("version.bind", TXT, 0x5E67, CHAOS)  # what a server is asked that nobody knows names of


def describe(reply: bytes) -> str:
    """A DNS reply in words, "" when it is none."""
    if len(reply) < 12 or not reply[2] & 0x80:  # noqa: PLR2004 - a header; the answer bit
        return ""
    answers = struct.unpack_from("!H", reply, 6)[0]
    return f"DNS: {CODES.get(reply[3] & 15, f'code {reply[3] & 15}')}, {answers} answer{'' if answers == 1 else 's'}"


def addresses(reply: bytes) -> tuple[str, ...]:
    """The A and AAAA records of a reply's answer section; what is not whole ends the list."""
    found: list[str] = []
    try:
        questions, answers = struct.unpack_from("!HH", reply, 4)
        at = 12
        for _ in range(questions):
            at = _behind_name(reply, at) + 4
        for _ in range(answers):
            at = _behind_name(reply, at)
            kind, _, _, length = struct.unpack_from("!HHIH", reply, at)
            data = reply[at + 10 : at + 10 + length]
            if (kind, len(data)) in ((A, 4), (AAAA, 16)):
                found.append(str(ipaddress.ip_address(data)))
            at += 10 + length
    except (struct.error, IndexError):
        pass  # a server may send anything: what was read so far counts
    return tuple(found)


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
    """(addresses, the server's answer in words) of a query to one server; ("" words: silence). OSError when refused."""
    found: list[str] = []
    words = ""
    for kind in (A, AAAA):
        reply = await exchange(server, port, query(name, kind, secrets.randbits(16)))
        words = words or describe(reply)
        found.extend(addresses(reply))
    return tuple(found), words


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


def _behind_name(reply: bytes, at: int) -> int:
    while reply[at]:
        if reply[at] & 0xC0:
            return at + 2
        at += 1 + reply[at]
    return at + 1
