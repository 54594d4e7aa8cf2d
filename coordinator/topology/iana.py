"""The ports of services by the names that IANA gives them, from the shipped `services.txt`: no machine's own list counts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files


def ports_of(name: str, protocol: str) -> tuple[int, ...]:
    """What IANA has registered under a name with `tcp` or `udp`, rising; a few names have several ports, most texts none."""
    return _services().get((name.lower(), protocol), ())


@cache
def nearest_service(name: str, protocol: str) -> str:
    """The service with one port over `protocol` whose name is nearest and begins alike; "" where none is near.

    Swapped letters are nearest.
    """
    wanted = name.lower()
    known = [
        each
        for (each, over), ports in _services().items()
        if over == protocol and len(ports) == 1 and each[0] == wanted[0]
    ]
    swapped = [one for one in known if sorted(one) == sorted(wanted)]
    found = swapped or difflib.get_close_matches(wanted, known, n=1, cutoff=0.8)
    return found[0] if found else ""


@cache
def _services() -> Mapping[tuple[str, str], tuple[int, ...]]:
    found = {}
    for line in files("coordinator").joinpath("topology/services.txt").read_text("utf-8").splitlines()[1:]:
        name, *spots = line.split()
        for protocol, _, ports in (spot.partition("/") for spot in spots):
            found[name, protocol] = tuple(map(int, ports.split(",")))
    return found
