"""Files that the packet child has no use for are out of its reach, whoever asks: landlock(7), as far as the kernel has it.

It may read its own program, which loads parts of itself when they are first needed, and /proc; it may write nothing, and signal
nobody outside. Network rules are left out: what it sends is `probes.gate`'s to say.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # by the same numbers on every machine
_VERSION, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# What each version of the interface can refuse (linux/landlock.h): 13 accesses to files at first.
_HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_NEWEST = max(_HANDLED)
_SCOPED = 6  # from this version on: sockets of AF_UNIX without a path, and signals
_SCOPES = 0b11
# Shared libraries, time zones (blackouts), and tables that Scapy reads.
_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/proc",
    "/etc/ld.so.cache", "/etc/localtime", "/etc/services", "/etc/protocols", "/etc/ethertypes",
)  # fmt: skip


def install() -> str:
    """Put it on this thread and those that it starts, for good; why it is not there, in words.

    It asks for no_new_privs.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *arguments: object) -> int:
        """OSError with the kernel's errno."""
        result = int(libc.syscall(ctypes.c_long(number), *arguments))
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    try:
        version = call(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
        handled = _HANDLED[min(version, _NEWEST)]
        wanted = struct.pack("=QQQ", handled, 0, _SCOPES if version >= _SCOPED else 0)
        size = 24 if version >= _SCOPED else 8  # an older kernel takes what it knows alone
        ruleset = call(_CREATE_RULESET, wanted, ctypes.c_size_t(size), 0)
        try:
            for path in readable():
                _allow(call, ruleset, path)
            call(_RESTRICT_SELF, ruleset, 0)
        finally:
            os.close(ruleset)
    except OSError as error:
        return f"no Landlock: {error.strerror}"
    return ""


def readable() -> Iterator[str]:
    """What the program itself needs to read: its own parts, Python's, shared libraries."""
    yield from (path for path in sys.path if path)
    yield str(Path(__file__).parents[2])  # an editable install may be in none of them
    yield str(Path(sys.base_prefix, "lib"))
    yield from _SYSTEM


def _allow(call: Callable[..., int], ruleset: int, path: str) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it is not there, or is not to be read anyway
        return
    try:
        access = _READ_FILE | _READ_DIR if Path(path).is_dir() else _READ_FILE
        rule = struct.pack("=Qi", access, descriptor)
        call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)
