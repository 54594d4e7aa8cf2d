"""A service manager, as far as it listens at $NOTIFY_SOCKET."""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Self

from tests.support.waiting import HANG_S

MOST_BYTES = 4096


class Manager:
    """`address` as in $NOTIFY_SOCKET: a path, or a name in the abstract namespace after an @."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.seen: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def told(self) -> list[str]:
        """What was said since it was last asked."""
        self.socket.setblocking(False)
        found = []
        while True:
            try:
                found.append(self.socket.recv(MOST_BYTES).decode())
            except BlockingIOError:
                self.seen += found
                return found

    def hear(self, *parts: str) -> str:
        """Wait for what holds all of these, and return it."""
        self.socket.settimeout(HANG_S)
        end = time.monotonic() + HANG_S
        while time.monotonic() < end:  # it is told again and again that a daemon is alive
            said = self.socket.recv(MOST_BYTES).decode()
            self.seen.append(said)
            if all(part in said for part in parts):
                return said
        raise AssertionError(f"{parts} was never said, but {list(dict.fromkeys(self.seen))}")
