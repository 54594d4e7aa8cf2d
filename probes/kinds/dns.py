"""DNS: does a name of another environment resolve, and to what.

Proves: that a name is (or is not) known to this host's resolver, or that a server answers DNS at UDP port 53.
Suggests: that split-horizon zones leak between environments, when a name of another environment resolves.
Blind to: what a different resolver would say; an answer does not show that the address can be reached.
Privilege: none.
On the wire: what getaddrinfo(3) sends; to a server one query over UDP (RFC 1035), at most three times.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import struct
import time

from probes import classify
from probes.kinds.single import Ask, Found
from reachability.observation import Observation
from reachability.vocabulary import Protocol, Reason, State
from wire.blocking import in_thread

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


async def probe(ask: Ask) -> Found:
    """Whether a name resolves, and to what: at this host's resolver, or at one server."""
    started = time.monotonic()
    try:
        if ask.server:
            found, words = await query_server(ask.server, ask.host)
        else:
            found, words = await resolve(ask.host)
    except OSError as error:
        found, words = (), error.strerror or str(error)
        state, reason = classify.from_errno(error.errno)
    else:
        answered = bool(found or (ask.server and words))
        state, reason = (State.OPEN, Reason.UDP_RESPONSE) if answered else (State.ERROR, Reason.RESOLVE_FAILED)
        if ask.server and not words:
            state, reason, words = State.OPEN_FILTERED, Reason.NO_RESPONSE, f"{ask.server} does not answer"
    observation = Observation(
        target=1,
        source_address="",
        address=ask.server or ask.host,
        protocol=Protocol.UDP,
        kind="dns",
        name=ask.host,
        ports="53" if ask.server else "",
        state=state,
        reason=reason,
        way="connect",
        note=words,
        rtt_ms=round((time.monotonic() - started) * 1000, 3),
    )
    return Found(observation, lines=tuple(("address", address) for address in found))


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
