"""The formats of a verify run: one literal table, for `-o` and for `--report FORMAT=FILE`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import click
import msgspec

from cli.errors import Problem
from cli.files import check_writable, replace_file
from cli.formats.junit import junit
from cli.formats.markdown import markdown
from cli.formats.sarif import sarif
from coordinator.api.responses.runs import FinishedRun

Report = tuple[str, Path]


def _json(run: FinishedRun, _: str) -> str:
    return json.dumps(msgspec.to_builtins(run.result), indent=2) + "\n"


def _junit(run: FinishedRun, _: str) -> str:
    return junit(run)


# name -> a run (as `GET /api/v1/runs/ID` gives it, compared with the baseline) and its topology's URI, as a text
FORMATS: Mapping[str, Callable[[FinishedRun, str], str]] = {
    "json": _json,
    "junit": _junit,
    "sarif": sarif,
    "markdown": markdown,
}


def report(text: str) -> Report:
    """The type of the option `--report junit=segwatch.xml`: (format, file); a usage error for anything else."""
    form, equals, file = text.partition("=")
    if not equals or not file or form not in FORMATS:
        raise click.BadParameter(f"'{text}' is not FORMAT=FILE with a format of {', '.join(FORMATS)}")
    return form, Path(file)


def check(reports: Sequence[Report]) -> None:
    """Before the run: each file can be written, and none is named twice."""
    files = [path for _, path in reports]
    for path in files:
        if files.count(path) > 1:
            raise click.UsageError(f"--report names {path} twice; give each format a file of its own")
        check_writable(path)


def write(reports: Sequence[Report], run: FinishedRun, topology: str) -> None:
    """Write each report to its file; one that cannot be written any more is said, and takes neither the others nor the verdict."""
    for form, path in reports:
        try:
            replace_file(path, FORMATS[form](run, topology))
        except Problem as problem:
            click.echo(f"segwatch verify: {problem}", err=True)


def uri_of(topology: Path | None, held: str) -> str:
    """The topology as a reader of the reports finds it: a relative URI where there is one.

    Args:
        topology: the file as this command was given it, in a checkout; None: not given.
        held: what the coordinator calls its file, which may be on another host.
    """
    path = topology if topology is not None else Path(held)
    if path.is_absolute():
        path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else Path(path.name)
    return quote(path.as_posix())
