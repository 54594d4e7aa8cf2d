"""Many TCP connections at once as any program of the host would make them, without waiting for each.

A socket that was refused is used again: of a closed port nothing is paid but the call that connects.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from probes.gate import Gate
from probes.kernel.error_queue import Refusal, ask_for, next_refusal
from probes.kernel.way import Way

_UNDER_WAY = {errno.EINPROGRESS, errno.EALREADY}
_EDGE = select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP | select.EPOLLET
_NO_LINGER = struct.pack("ii", 1, 0)  # closing sends a RST: the target keeps nothing, and this host no TIME_WAIT


class Called(NamedTuple):
    """What a connection is for: the caller's numbers. Those of one group are waited for equally long."""

    group: int
    place: int


class Ended(NamedTuple):
    """What came of one: `error` 0 (open), an errno, or ETIMEDOUT for silence."""

    what: Called
    error: int
    refusal: Refusal | None
    seconds: float


@dataclass(slots=True)
class _Call:
    connection: socket.socket
    way: Way
    to: tuple[str, int]
    what: Called
    began: float


class Dialler:
    """Connections under way, by file descriptor, and sockets that wait to be used."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._epoll = select.epoll()
        self._calls: dict[int, _Call] = {}
        self._idle: dict[Way, list[socket.socket]] = {}

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._calls)

    def begin(self, way: Way, to: tuple[str, int], what: Called) -> Ended | None:
        """Connect by a source address and port; what came of it where that is known at once.

        OSError when no socket is available; NotAllowed.
        """
        self._gate.check(*to)
        idle = self._idle.get(way)
        connection = idle.pop() if idle else self._open(way)
        began = time.monotonic()
        error = connection.connect_ex(to)
        call = _Call(connection, way, to, what, began)
        if error in _UNDER_WAY:
            self._calls[connection.fileno()] = call
            return None
        return self._end(call, error)

    def ended(self) -> list[Ended]:
        """Those that came to an end since the last time."""
        found = []
        for descriptor, _ in self._epoll.poll(0):
            call = self._calls.get(descriptor)
            if call is None:
                continue
            error = call.connection.connect_ex(call.to)  # tells what became of it, once
            if error not in _UNDER_WAY:
                del self._calls[descriptor]
                found.append(self._end(call, error))
        return found

    def expired(self, patience: Sequence[float]) -> list[Ended]:
        """Those that had no answer within the seconds that their group has; they are given up.

        One that has its answer by now ends by that: where this process did not run meanwhile, that is not silence.
        """
        now = time.monotonic()
        late = [d for d, call in self._calls.items() if now - call.began > patience[call.what.group]]
        found = []
        for descriptor in late:
            call = self._calls.pop(descriptor)
            error = call.connection.connect_ex(call.to)
            if error not in _UNDER_WAY:
                found.append(self._end(call, error))
                continue
            call.connection.close()
            found.append(Ended(call.what, errno.ETIMEDOUT, None, now - call.began))
        return found

    def close(self) -> None:
        """Give up all."""
        for call in self._calls.values():
            call.connection.close()
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._calls, self._idle = {}, {}
        self._epoll.close()

    def _end(self, call: _Call, error: int) -> Ended:
        seconds = time.monotonic() - call.began
        refusal = next_refusal(call.connection) if error else None
        if error == errno.ECONNREFUSED:
            self._idle.setdefault(call.way, []).append(call.connection)
        else:
            call.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            call.connection.close()
        return Ended(call.what, error, refusal, seconds)

    def _open(self, way: Way) -> socket.socket:
        connection = socket.socket(socket.AF_INET6 if ":" in way.address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ask_for(connection)
            connection.bind(way)
            self._epoll.register(connection, _EDGE)
        except OSError:
            connection.close()
            raise
        return connection


def is_free(way: Way) -> bool:
    """Whether no other program holds the source port."""
    family = socket.AF_INET6 if ":" in way.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        try:
            trial.bind(way)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True
