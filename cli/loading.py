"""A topology file for a command: loaded, or every error of it as one problem with exit code 2."""

from __future__ import annotations

from pathlib import Path

from cli.errors import Problem
from cli.render import plural
from coordinator.topology_file import TopologyErrors, load_topology
from reachability.topology import Topology


def load(path: Path) -> Topology:
    """The topology of a file; Problem with all of its errors."""
    try:
        return load_topology(path)
    except TopologyErrors as error:
        raise Problem(f"the topology has {plural(len(error.errors), 'error')}:", *error.errors) from error
