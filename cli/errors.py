"""The one way a command says that it cannot go on: what is wrong, where, and what to do; exit code 2."""

from __future__ import annotations

import sys
from typing import IO, Any

import click

from cli.journal import STDERR, as_errors
from reachability.texts import clean_lines

USAGE = 2  # exit code of a usage or configuration error


class Problem(click.ClickException):
    """A usage or configuration problem, in words.

    The first line says what is wrong and where, the following ones what to do. It is printed to stderr as
    `segwatch VERB: first line` with the others indented, and ends the command with exit code 2.
    """

    exit_code = USAGE

    def __init__(self, *lines: str) -> None:
        super().__init__("\n  ".join(lines))
        self.lines = lines
        context = click.get_current_context(silent=True)
        self.verb = context.command_path if context is not None else "segwatch"

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it, to stderr unless told otherwise."""
        text = clean_lines(f"{self.verb}: {self.message}")
        print(text if file is not None else "\n".join(as_errors([text], STDERR)), file=file or sys.stderr)
