"""Who answered in a host's name, where the host itself did not: told by how far the answer travelled."""

from __future__ import annotations

from enum import Enum, auto


class Closer(Enum):
    """Who may have sent what came in a host's name."""

    PATH = auto()  # a device before the host
    AS_FAR_AS_THE_HOST = auto()  # another host that holds the address, perhaps: anycast, a director's other server
    UNKNOWN = auto()


DIRECT = " direct"  # how a `via` ends that has no next hop: the address is on the source's own link


def closer(hops: int | None, host_hops: int | None, via: str) -> Closer:
    """Who sent an answer of which the host's witness knows nothing.

    Args:
        hops: routers that it crossed; of several answers the most. None: not known.
        host_hops: routers that the host's own replies crossed. None: it gave none.
        via: how the source's packets left: "interface next-hop".
    """
    if hops is None:
        return Closer.UNKNOWN
    if host_hops is not None:
        return Closer.PATH if hops < host_hops else Closer.AS_FAR_AS_THE_HOST
    # Of a silent host nobody knows how far it is; but behind a router it is further away than the router.
    return Closer.PATH if hops == 0 and via and not via.endswith(DIRECT) else Closer.UNKNOWN
