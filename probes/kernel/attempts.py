"""Packets of the kernel's own to many endpoints at a time, from one source port, of which nothing is waited for."""

from __future__ import annotations

import contextlib
import socket
import struct

from probes.gate import Gate
from probes.kernel.way import Way
from reachability.vocabulary import Protocol

_NO_LINGER = struct.pack(
    "ii", 1, 0
)  # closing sends a RST: the target keeps nothing, and the source port is free at once


class Attempts:
    """One source address and protocol. Each connection has to be given up before its SYN is sent again, after a second."""

    def __init__(self, source: str, protocol: Protocol, gate: Gate) -> None:
        """OSError when no socket is available."""
        self._gate = gate
        self._family = socket.AF_INET6 if ":" in source else socket.AF_INET
        self._kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
        self._holder = self._open(Way(source, 0))
        self.way = Way(source, self._holder.getsockname()[1])
        self._under_way: list[socket.socket] = []

    def begin(self, to: tuple[str, int], request: bytes) -> None:
        """Send a SYN, or a datagram with the request; what does not leave shows in the capture alone. NotAllowed."""
        self._gate.check(*to)
        with contextlib.suppress(OSError):
            if self._kind == socket.SOCK_DGRAM:
                self._holder.sendto(request, to)
                return
            connection = self._open(self.way)
            self._under_way.append(connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            connection.connect_ex(to)

    def give_up(self) -> None:
        """Give up all connections."""
        for connection in self._under_way:
            connection.close()
        self._under_way.clear()

    def close(self) -> None:
        """Give up the source port too."""
        self.give_up()
        self._holder.close()

    def _open(self, way: Way) -> socket.socket:
        made = socket.socket(self._family, self._kind)
        try:
            made.setblocking(False)
            if self._kind == socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(way)
        except OSError:
            made.close()
            raise
        return made
