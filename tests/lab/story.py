"""What a failed test of the lab tells, at most a screen: the cell with its evidence, the last of the logs, the seed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from lab.sealed import LabError
from lab.system import System
from tests.lab.truth import CellId

SCREEN, WIDTH = 50, 150
LINES = 4  # of each log
QUIET = ("level", "timestamp", "event", "logger")


def lines_of(text: str, most: int) -> list[str]:
    """The last lines, cut to the width of a screen."""
    return [line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in text.strip().splitlines()[-most:]]


def logs(system: System) -> list[str]:
    """The last lines of the coordinator's and each agent's log."""
    told = []
    for name in ("coordinator", *system.agents):
        last = [_said(line) for line in system.log(name).strip().splitlines()[-LINES:]]
        told += [f"-- {name}", *lines_of("\n".join(last), LINES)]
    return told


def _said(line: str) -> str:
    with contextlib.suppress(ValueError):
        entry = json.loads(line)
        if isinstance(entry, dict):
            more = " ".join(f"{name}={value}" for name, value in entry.items() if name not in QUIET and value)
            return f"{str(entry.get('timestamp', ''))[11:23]} {entry.get('event', '')} {more}"
    return line


def why(system: System, cell: CellId) -> list[str]:
    """`explain` of a cell: the evidence that it has."""
    agent, _, address, protocol, port = cell
    asked = "icmp" if protocol == "icmp" else f"{protocol}/{port}"
    try:
        body: Any = system.ask("explain", "--from", agent, "--to", address, "--port", asked)
    except (LabError, TimeoutError, ValueError) as error:
        return [f"no evidence of {cell}: {error}"]
    evidence = {name: value for name, value in (body.get("evidence") or {}).items() if value not in {None, "", False}}
    text = f"-- evidence of {cell}: " + ", ".join(f"{name} {value}" for name, value in evidence.items())
    return [text[at : at + WIDTH] for at in range(0, len(text), WIDTH)][:8]


def screen(lines: Sequence[str], most: int = SCREEN) -> str:
    """No more than fits."""
    kept = [line if len(line) <= 2 * WIDTH else f"{line[: 2 * WIDTH - 1]}…" for line in lines[:most]]
    return "\n".join([*kept, *([f"… and {len(lines) - most} more lines"] if len(lines) > most else [])])


@contextlib.contextmanager
def told(system: System, **facts: object) -> Iterator[None]:
    """A test that fails in here says with what seed and the like it ran, and what the processes logged last."""
    try:
        yield
    except Exception as error:
        known = [f"{name} {value}" for name, value in facts.items()]
        with contextlib.suppress(LabError, OSError):
            error.add_note(screen([*known, *logs(system)], SCREEN // 2))
        raise
