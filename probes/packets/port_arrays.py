"""Sets of ports as numpy columns: one place per port, and the source ports that go with each."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from probes.packets.raw_socket import EPHEMERAL
from reachability.ports import PortSet

# Where source ports come from. Two hosts that sweep each other must never use each other's pair of ports the other way round:
# a stateful firewall would take one's packet for the other's answer. So each window is swept from the next one, all other
# ports from the first; no two of these lead back to each other.
WINDOWS = ((61000, 62499), (62500, 63999), (64000, 65499))

Places = NDArray[np.int32]
Mask = NDArray[np.bool_]


@lru_cache(maxsize=32)
def place_of(ports: PortSet) -> tuple[NDArray[np.uint16], Places]:
    """The ports in rising order, and the place of each of all 65,536 among them, -1 for those that are not."""
    numbers = np.fromiter(ports, np.uint16, len(ports))
    places = np.full(65536, -1, np.int32)
    places[numbers] = np.arange(len(numbers), dtype=np.int32)
    return numbers, places


def window_of(ports: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Which of `WINDOWS` the source ports for these destination ports come from."""
    found = np.zeros(len(ports), np.uint8)
    for number, (low, high) in enumerate(WINDOWS):
        found[(ports >= low) & (ports <= high)] = (number + 1) % len(WINDOWS)
    return found


def sources_for(port: int) -> tuple[int, int]:
    """Where the source port for one destination port comes from, of a sweep or not; 0 is ICMP's, which has no ports."""
    return WINDOWS[int(window_of(np.array([port], np.uint16))[0])] if port else EPHEMERAL


def may_answer(port: int, local: int) -> bool:
    """Whether copies to a port leave from this source port: what comes from the one to the other else is no answer.

    It may be the far agent's own probe of that source port, and a datagram has nothing else to tell the two apart by.
    """
    low, high = sources_for(port)
    return low <= local <= high


def hops_of(ttl: NDArray[np.uint8]) -> NDArray[np.int16]:
    """As `probes.packets.parse.hops`, for many."""
    start = np.where(ttl <= 64, 64, np.where(ttl <= 128, 128, 255))  # noqa: PLR2004 - the usual initial values
    return (start - ttl).astype(np.int16)


def port_set(ports: NDArray[np.uint16]) -> PortSet:
    """The set of ports in rising order without duplicates, for a row of a report."""
    flags = np.zeros(65536, np.bool_)
    flags[ports] = True
    return PortSet(int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")).compact()
