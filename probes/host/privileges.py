"""What the packet child may do: CAP_NET_RAW and nothing else, no new program or process."""

from __future__ import annotations

import contextlib
import os
import resource
from typing import NamedTuple

from probes.host import landlock, seccomp
from wire.process.privileges import Capability, close_inherited, give_up, harden, mask

NOWHERE = "/proc/nowhere"  # not there, and nobody can make it


class Confined(NamedTuple):
    """What came of it: `notes` say what could not be done; `files`, why files are not out of reach (Landlock), "" when they are."""

    notes: tuple[str, ...]
    files: str


def confine() -> Confined:
    """Keep CAP_NET_RAW if it is held and give the rest up for good."""
    close_inherited()
    os.environ["XDG_CACHE_HOME"] = NOWHERE  # else Scapy fails over pickles in a home directory, which is out of reach
    notes = (*give_up(effective=mask(Capability.NET_RAW)), *harden())
    files = landlock.install()
    return Confined((*notes, *seccomp.install()), files)


def raise_file_limit() -> None:
    """A round holds a socket for each source port."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
