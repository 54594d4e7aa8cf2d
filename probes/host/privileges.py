"""What the packet child may do: CAP_NET_RAW and nothing else, no new program or process."""

from __future__ import annotations

import contextlib
import resource

from probes.host import seccomp
from wire.process.privileges import Capability, close_inherited, give_up, harden, mask


def confine() -> tuple[str, ...]:
    """Keep CAP_NET_RAW if it is held and give the rest up for good; what could not be done, in words."""
    close_inherited()
    return (*give_up(effective=mask(Capability.NET_RAW)), *harden(), *seccomp.install())


def raise_file_limit() -> None:
    """A round holds a socket for each source port."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
