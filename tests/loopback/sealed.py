"""A network of a test's own, sealed from all others: what is sent there leaves a host, and reaches nobody."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
NOBODY_THERE = "10.30.0.9"


@contextmanager
def network() -> Iterator[str]:
    """This thread, and the processes and threads that it starts, in a new network namespace: root alone may. An address to send to.

    It is the next one on a link of the namespace's own, and known to it, so that packets leave without a question.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            for words in (
                "link set lo up",
                "link add out type veth peer name far",
                "addr add 10.30.0.1/24 dev out",
                "link set out up",
                "link set far up",
                f"neigh add {NOBODY_THERE} lladdr 02:00:00:00:00:09 dev out nud permanent",
            ):
                subprocess.run(["ip", *words.split()], check=True)
            yield NOBODY_THERE
        finally:
            if libc.setns(before, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(before)
