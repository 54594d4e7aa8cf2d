"""Reading the kernel's tables by netlink: links and sockets, often and cheaply. Dumps only, nothing is ever changed.

A few structs by hand: a witness does this every second on its event loop, and pyroute2 would cost a thread and 20 MB.
Sources: rtnetlink(7), sock_diag(7), linux/if_link.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

NETLINK_ROUTE, NETLINK_SOCK_DIAG = 0, 4
RTM_GETLINK, SOCK_DIAG_BY_FAMILY = 18, 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3
_MOST_ERRNO = 4095
_NESTED = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_RECEIVE = 1 << 17
_TIMEOUT_S = 2.0


def dump(bus: int, kind: int, body: bytes) -> list[bytes]:
    """The bodies of all answers to one dump request; OSError when the kernel refuses it."""
    bodies: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, bus) as sock:
        sock.settimeout(_TIMEOUT_S)
        sock.bind((0, 0))
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, _REQUEST_DUMP, 1, 0) + body)
        while True:
            found, last = answers(sock.recv(_RECEIVE))
            bodies += found
            if last:
                return bodies


def answers(data: bytes) -> tuple[list[bytes], bool]:
    """The bodies in one datagram of the kernel, and whether the dump ends here; OSError when it refuses, or is not whole."""
    bodies: list[bytes] = []
    at = 0
    while at + 16 <= len(data):
        length, answer = struct.unpack_from("=IH", data, at)
        if answer == _DONE:
            return bodies, True
        if answer == _ERROR:
            number = -values("=i", data, at + 16)[0]
            raise OSError(number, os.strerror(number) if 0 <= number <= _MOST_ERRNO else "unknown error")
        if length < 16:  # noqa: PLR2004 - the header; never from a sane kernel, and else this would not end
            raise OSError("a netlink answer without a length")
        bodies.append(data[at + 16 : at + length])
        at += (length + 3) & ~3
    return bodies, False


def values(layout: str, data: bytes, at: int = 0) -> tuple[Any, ...]:
    """As `struct.unpack_from`; OSError for what is cut short."""
    try:
        return struct.unpack_from(layout, data, at)
    except struct.error:
        raise OSError("a netlink answer that is cut short") from None


def attributes(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """The (type, value) pairs that follow a message's fixed part of `at` bytes."""
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:  # noqa: PLR2004 - the attribute's own header
            return
        yield kind & _NESTED, data[at + 4 : at + length]
        at += (length + 3) & ~3


def address(raw: bytes) -> str:
    """An address as the kernel keeps it, as text; "" for another length."""
    if len(raw) == 4:  # noqa: PLR2004
        return socket.inet_ntop(socket.AF_INET, raw)
    return socket.inet_ntop(socket.AF_INET6, raw) if len(raw) == 16 else ""  # noqa: PLR2004
