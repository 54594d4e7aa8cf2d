"""The ports of services by the names that IANA gives them, from the shipped `services.txt`: no machine's own list counts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files


def ports_of(name: str, protocol: str) -> tuple[int, ...]:
    """What IANA has registered under a name with `tcp` or `udp`, rising; a few names have several ports, most texts none."""
    return _services().get((name.lower(), protocol), ())


@cache
def _services() -> Mapping[tuple[str, str], tuple[int, ...]]:
    found = {}
    for line in files("coordinator").joinpath("topology/services.txt").read_text("utf-8").splitlines()[1:]:
        name, *spots = line.split()
        for protocol, _, ports in (spot.partition("/") for spot in spots):
            found[name, protocol] = tuple(map(int, ports.split(",")))
    return found
