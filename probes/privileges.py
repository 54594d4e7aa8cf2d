"""What the packet child may do: CAP_NET_RAW and nothing else, no new privileges, and an end with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_CAP_AMBIENT = 1, 38, 24, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAP_NET_RAW = 13
LAST_CAP = 63
_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Be killed when the parent ends; leave at once if it has ended already."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(0)


def drop_all_but_net_raw() -> tuple[str, ...]:
    """Keep CAP_NET_RAW if it is held, drop the rest for good; returns what could not be done, in words."""
    notes = []
    held = _capabilities()
    keep = held & (1 << CAP_NET_RAW)
    for capability in range(LAST_CAP + 1):
        if capability != CAP_NET_RAW:
            _libc.prctl(
                PR_CAPBSET_DROP, capability, 0, 0, 0
            )  # asks for CAP_SETPCAP; without it there is little to drop
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = struct.pack("=Ii", _VERSION_3, 0)
    low = struct.pack("=III", keep & 0xFFFFFFFF, keep & 0xFFFFFFFF, 0)
    high = struct.pack("=III", keep >> 32, keep >> 32, 0)
    if _libc.capset(header, low + high) != 0:
        notes.append(f"capabilities could not be dropped: {os.strerror(ctypes.get_errno())}")
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        notes.append("no_new_privs could not be set")
    if os.geteuid() == 0 and keep:
        notes.append("still user 0, with CAP_NET_RAW alone")
    return tuple(notes)


def raise_file_limit() -> None:
    """A round holds a socket for each source port."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


def _capabilities() -> int:
    header = struct.pack("=Ii", _VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    if _libc.capget(header, data) != 0:
        return 0
    effective_low, _, _, effective_high, _, _ = struct.unpack("=6I", data.raw)
    return int(effective_low | effective_high << 32)
