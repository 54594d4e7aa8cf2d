"""Who answered in a host's name, where the host itself did not: told by how far the answer travelled."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto


@dataclass(slots=True)
class Distances:
    """How many routers what came in the name of hosts crossed, by address.

    `host`: the host's own replies. `least`: the fewest that it may have been, where ways back differ in length. An answer of one
    open port is enough for it: it may be a proxy's, but what came from as near may be the host's as well.
    """

    host: dict[str, int] = field(default_factory=dict)
    least: dict[str, int] = field(default_factory=dict)
    _resets: dict[tuple[str, int], int] = field(default_factory=dict)  # address, port -> of its first RST

    def replied(self, address: str, hops: int, *, echo: bool = False, tcp: bool = False) -> None:
        """An answer to an echo, or of an open port, which may be a proxy's: it counts where there is nothing better."""
        if echo:
            self.host[address] = hops
        else:
            self.host.setdefault(address, hops)
        if tcp:
            self._at_least(address, hops)

    def reset(self, address: str, port: int, hops: int) -> None:
        """A RST. Where those of one port come from several distances, one sender has ways back of several lengths."""
        first = self._resets.setdefault((address, port), hops)
        self.differ(address, first, hops)

    def differ(self, address: str, one: int, other: int) -> None:
        """Two RSTs of one port, which say nothing where they crossed as many routers."""
        if one != other:
            self._at_least(address, min(one, other))

    def _at_least(self, address: str, hops: int) -> None:
        self.least[address] = min(hops, self.least.get(address, hops))


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


def nearer(hops: int, host_hops: int, least_hops: int | None) -> bool:
    """Whether an answer of which nobody at the host knows came fewer hops than anything that may be the host's own."""
    return hops < min(host_hops, host_hops if least_hops is None else least_hops)
