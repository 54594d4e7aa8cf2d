"""Ports for servers that cannot be told to take any: nobody else gets one between its choice and its use."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

# Below the ports that a kernel gives to connections, so that none of those takes one; above, programs keep theirs.
FIRST, LAST = 12_000, 19_999
_ANYWHERE = ("0.0.0.0", "::")
_choice = random.SystemRandom()  # the seed of the tests is one for all of their processes


def free_port() -> int:
    """A port that is free for TCP and UDP at every address. It is this process's until that ends."""
    for _ in range(1000):
        port = _choice.randint(FIRST, LAST)
        if _is_free(port) and _reserve(port):
            return port
    raise AssertionError(f"no port from {FIRST} to {LAST} is free")


def _is_free(port: int) -> bool:
    with ExitStack() as stack:
        try:
            for family, host in zip((socket.AF_INET, socket.AF_INET6), _ANYWHERE, strict=True):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    probe = stack.enter_context(socket.socket(family, kind))
                    if family == socket.AF_INET6:
                        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    probe.bind((host, port))
        except OSError:
            return False
    return True


def _reserve(port: int) -> bool:
    """Among the tests' processes, by a name that ends with the process that holds it."""
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind(f"\0segwatch-test-port-{port}")
    except OSError:
        held.close()
        return False
    held.detach()
    return True
