"""UDP as any program of the host would send it, from source ports of its own; the kernel says who refused what."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from collections.abc import Iterable, Iterator

from probes.gate import Gate
from probes.kernel.error_queue import Refusal, ask_for, next_refusal
from probes.kernel.way import Way
from probes.protocols.banner import MOST

ROOM = 4 << 20  # bytes of answers that may wait
TRIES = 3
MOST_READ = 4096


class Datagrams:
    """Sockets by source address and port."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._sockets: dict[Way, socket.socket] = {}

    def open(self, source: str, within: tuple[int, int]) -> Way:
        """A source port that nobody else holds; OSError when none is free."""
        for _ in range(200):
            way = Way(source, random.randint(*within))  # noqa: S311 - has to be unused, not secret
            made = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_DGRAM)
            try:
                made.setblocking(False)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
                ask_for(made)
                made.bind(way)
            except OSError as error:
                made.close()
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            self._sockets[way] = made
            return way
        raise OSError("no unused source port was found in 200 tries")

    def send(self, way: Way, data: bytes, to: tuple[str, int]) -> int:
        """Send one; 0, or the errno of its own failure: that of an earlier one is reported first, and only once."""
        self._gate.check(*to)
        made, failed = self._sockets[way], 0
        for _ in range(TRIES):
            try:
                made.sendto(data, to)
            except OSError as error:
                failed = error.errno or errno.EIO
            else:
                return 0
        return failed

    def answers(self) -> Iterator[tuple[Way, str, int]]:
        """Who answered which source port, since the last time: address and port."""
        for way, made in self._sockets.items():
            for _ in range(MOST_READ):
                try:
                    _, sender = made.recvfrom(MOST)
                except BlockingIOError:
                    break
                except OSError:  # of something that was sent: the queue has it
                    continue
                yield way, sender[0].partition("%")[0], sender[1]

    def refusals(self) -> Iterator[tuple[Way, Refusal]]:
        """Who refused what, since the last time."""
        for way, made in self._sockets.items():
            for _ in range(MOST_READ):
                refusal = next_refusal(made)
                if refusal is None:
                    break
                yield way, refusal

    def close(self, ways: Iterable[Way] = ()) -> None:
        """Give up these, or all."""
        for way in tuple(ways or self._sockets):
            with contextlib.suppress(OSError):
                self._sockets.pop(way).close()
