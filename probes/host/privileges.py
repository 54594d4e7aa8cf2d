"""What the packet child may do: CAP_NET_RAW and nothing else, no new program or process, and an end with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal

from probes.host import seccomp
from wire.privileges import Capability, close_inherited, give_up, harden, mask

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Be killed when the parent ends; leave at once if it has ended already."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(0)


def confine() -> tuple[str, ...]:
    """Keep CAP_NET_RAW if it is held and give the rest up for good; what could not be done, in words."""
    close_inherited()
    return (*give_up(effective=mask(Capability.NET_RAW)), *harden(), *seccomp.install())


def raise_file_limit() -> None:
    """A round holds a socket for each source port."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
