"""What a command is given, read: a topology file, a life of certificates; or one problem with exit code 2."""

from __future__ import annotations

import datetime as dt
import difflib
import os
from pathlib import Path

from cli.errors import Problem
from cli.files import STDIN, piped
from cli.show.render import plural
from coordinator.topology.document import UnreadableError
from coordinator.topology.load import MOST_BYTES, NOUN, TopologyErrors, load_topology, parse_topology, read_bytes
from coordinator.topology.scalars import parse_duration
from reachability.topology import Topology

LEAST_LIFE_S = 10


def read(path: Path) -> Topology:
    """The topology of a file, of standard input (`-`) or of a pipe; TopologyErrors."""
    content = piped(path, MOST_BYTES)
    return load_topology(path) if content is None else parse_topology(content, os.fspath(path))


def load(path: Path) -> Topology:
    """As `read`; Problem with all of its errors."""
    try:
        return read(path)
    except TopologyErrors as error:
        raise _refused(error) from error


def load_text(path: Path) -> str:
    """The text of a topology that has no errors; Problem as `load` has it."""
    content = piped(path, MOST_BYTES)
    try:
        if content is None:
            content = read_bytes(path, NOUN)
        parse_topology(content, os.fspath(path))
    except UnreadableError as error:
        raise _refused(TopologyErrors(os.fspath(path), [error.problem])) from error
    except TopologyErrors as error:
        raise _refused(error) from error
    return content.decode()


def _refused(error: TopologyErrors) -> Problem:
    return Problem(f"the topology has {plural(len(error.errors), 'error')}:", *error.errors)


def load_file(path: Path) -> Topology:
    """As `load`, for who reads it again when it changes: Problem for standard input and pipes, too."""
    if path == STDIN or path.is_fifo():
        raise Problem(f"{path} is not a file", "The coordinator reads its topology again when it changes: name a file.")
    return load(path)


def certificate_life(text: str) -> dt.timedelta:
    """How long certificates last, from `90d`; Problem when it is not such a time."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise Problem(f"the life of certificates: {error}") from error
    if seconds < LEAST_LIFE_S:
        raise Problem(f"the life of certificates: {text} is too short to renew one; it is at least {LEAST_LIFE_S} s")
    return dt.timedelta(seconds=seconds)


def environment_of(name: str, loaded: Topology, file: Path) -> str:
    """Where an agent belongs; Problem with the nearest name where it is not declared."""
    agents = loaded.agents()
    if name in agents:
        return agents[name]
    near = difflib.get_close_matches(name, agents, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"it declares {', '.join(sorted(agents)) or 'none'}."
    raise Problem(f"{file} declares no agent '{name}'; {hint}")
