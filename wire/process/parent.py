"""An end with the parent: prctl(2), PR_SET_PDEATHSIG."""

from __future__ import annotations

import ctypes
import os
import signal

_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork


def die_with(parent: int) -> None:
    """Have this process killed when its parent ends, however that ends; leave at once when it has ended already.

    `parent` is its pid, as it was before the fork. It may be called between fork and exec.
    """
    _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
