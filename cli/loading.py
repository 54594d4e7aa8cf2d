"""What a command is given, read: a topology file, a life of certificates; or one problem with exit code 2."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cli.errors import Problem
from cli.show.render import plural
from coordinator.topology.load import TopologyErrors, load_topology
from coordinator.topology.scalars import parse_duration
from reachability.topology import Topology

LEAST_LIFE_S = 10


def load(path: Path) -> Topology:
    """The topology of a file; Problem with all of its errors."""
    try:
        return load_topology(path)
    except TopologyErrors as error:
        raise Problem(f"the topology has {plural(len(error.errors), 'error')}:", *error.errors) from error


def certificate_life(text: str) -> dt.timedelta:
    """How long certificates last, from `90d`; Problem when it is not such a time."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise Problem(f"the life of certificates: {error}") from error
    if seconds < LEAST_LIFE_S:
        raise Problem(f"the life of certificates: {text} is too short to renew one; it is at least {LEAST_LIFE_S} s")
    return dt.timedelta(seconds=seconds)
