"""What a process of segwatch may do on its host, and how it gives that up: capabilities(7), prctl(2), setrlimit(2).

Both daemons and the packet child call this once, before they talk with anybody.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_GET_DUMPABLE, _SET_DUMPABLE, _SET_KEEPCAPS, _SET_NO_NEW_PRIVS = 3, 4, 8, 38
_CAPBSET_READ, _CAPBSET_DROP, _SET_SECUREBITS, _CAP_AMBIENT = 23, 24, 28, 47
# SECBIT_NOROOT, SECBIT_NO_SETUID_FIXUP and their locks: user 0 gains nothing by starting a program, nor by becoming user 0 again
_NOROOT = 0b1111
_AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 2, 4
_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


class Capability(IntEnum):
    """Those that segwatch has a use for, by their numbers in the kernel."""

    NET_BIND_SERVICE = 10
    NET_RAW = 13


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds, as its /proc/PID/status says; sets of capabilities are bit masks."""

    user: int
    effective: int
    permitted: int
    bounding: int
    no_new_privileges: bool
    filtered: bool  # by seccomp

    @classmethod
    def read(cls, pid: int | str = "self") -> Held:
        """OSError when there is no such process."""
        lines = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
        )
        return cls(
            user=int(lines["Uid"].split()[1]),
            effective=int(lines["CapEff"], 16),
            permitted=int(lines["CapPrm"], 16),
            bounding=int(lines["CapBnd"], 16),
            no_new_privileges=lines.get("NoNewPrivs", "0").strip() == "1",
            filtered=lines.get("Seccomp", "0").strip() == "2",
        )


def mask(*capabilities: Capability) -> int:
    """The set of these."""
    return sum(1 << capability for capability in capabilities)


def keep_over_user_change() -> None:
    """Let the permitted capabilities outlive a change from root to another user."""
    _libc.prctl(_SET_KEEPCAPS, 1, 0, 0, 0)


def bound(kept: int) -> None:
    """Take all but these out of the bounding set, for good; nothing without CAP_SETPCAP, when there is little to take."""
    number = 0
    while (there := _libc.prctl(_CAPBSET_READ, number, 0, 0, 0)) >= 0:
        if there and not kept >> number & 1:
            _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0)
        number += 1


def give_up(*, effective: int = 0, inherited: int = 0) -> tuple[str, ...]:
    """Keep these capabilities, as far as they are held, and drop the rest for good; what could not be done, in words.

    Those that are `inherited` can be handed on to programs that this process starts. It cannot use them itself unless they are
    `effective` too.
    """
    held = Held.read().permitted
    mine, theirs = effective & held, inherited & held
    bound(mine | theirs)
    _libc.prctl(_SET_SECUREBITS, _NOROOT, 0, 0, 0)
    _libc.prctl(_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = struct.pack("=Ii", _VERSION_3, 0)
    sets = [(word & 0xFFFFFFFF, word >> 32) for word in (mine, mine | theirs, theirs)]
    low, high = zip(*sets, strict=True)
    if _libc.capset(header, struct.pack("=6I", *low, *high)) != 0:
        return (f"capabilities could not be dropped: {os.strerror(ctypes.get_errno())}",)
    return ()


def hand_on(capabilities: int) -> None:
    """Programs that this thread starts from now on get these, as far as they are held for others.

    Between fork and exec: only the program that is started there.
    """
    for capability in Capability:
        if capabilities >> capability & 1:
            _libc.prctl(_CAP_AMBIENT, _AMBIENT_RAISE, capability, 0, 0)


def harden() -> tuple[str, ...]:
    """No new privileges, no core dump, and no ptrace or /proc/PID/mem by processes of the same user, which could read keys.

    To be called after the last change of user, which undoes part of it.
    """
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    failed = [
        f"{what} could not be set"
        for option, value, what in ((_SET_NO_NEW_PRIVS, 1, "no_new_privs"), (_SET_DUMPABLE, 0, "undumpable"))
        if _libc.prctl(option, value, 0, 0, 0) != 0
    ]
    return tuple(failed)


def is_dumpable() -> bool:
    """Whether other processes of this user may look into this one."""
    return bool(_libc.prctl(_GET_DUMPABLE, 0, 0, 0, 0))


def close_inherited() -> None:
    """Close every descriptor that came from whoever started us, but for the three standard ones."""
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
