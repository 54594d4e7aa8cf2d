"""Listens at as many TCP ports as asked, drawn from seed 1: `listeners.py COUNT`. Prints nothing; ends with its parent."""

from __future__ import annotations

import contextlib
import random
import resource
import selectors
import socket
import sys


def ports(count: int) -> list[int]:
    """Which ones."""
    return sorted(random.Random(1).sample(range(1, 65536), count))


def main() -> None:
    """Accept and hang up, for ever."""
    count = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 256, count + 256))
    selector = selectors.DefaultSelector()
    for port in ports(count):
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", port))
        listener.listen(64)
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            with contextlib.suppress(BlockingIOError):
                connection, _ = key.fileobj.accept()  # type: ignore[union-attr]
                connection.close()


if __name__ == "__main__":
    main()
