"""What a reading command shows, again whenever it has changed: `--watch`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import datetime

import click

from cli.client import UnreachableError
from cli.show.render import Paint, show

EVERY_S = 2.0
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR = f"{_HOME}\x1b[2J"


def put(output: str, *, watch: bool, body: Callable[[], object], lines: Callable[[], list[str]], style: Paint) -> None:
    """Show a body as `-o json` has it, or lines; once, or with `watch` until Ctrl-C.

    Watched on a terminal, lines stay in their place; elsewhere they come again where they changed, and JSON is a line each.
    """
    if not watch:
        if output == "json":
            click.echo(json.dumps(body(), indent=2))
        else:
            show(lines())
        return
    if output == "json":
        _follow(lambda: [json.dumps(body())], _echo)
    elif sys.stdout.isatty():
        click.echo(_CLEAR, nl=False)
        _follow(lines, lambda shown, problem: _redraw(shown, problem, style), always=True)
    else:
        _follow(lines, _echo)


def _follow(make: Callable[[], list[str]], draw: Callable[[list[str], str], None], *, always: bool = False) -> None:
    """Ask for ever; a coordinator that was there and is away is waited for, and what it said last stays."""
    shown: list[str] | None = None
    drawn: tuple[list[str], str] | None = None
    while True:
        problem = ""
        try:
            shown = make()
        except UnreachableError as error:
            if shown is None:
                raise
            problem = error.lines[0]
        if always or (shown, problem) != drawn:
            draw(shown, problem)
            drawn = (shown, problem)
        time.sleep(EVERY_S)


def _echo(shown: list[str], problem: str) -> None:
    if problem:
        click.echo(problem, err=True)
    else:
        show(shown)
        sys.stdout.flush()


def _redraw(shown: list[str], problem: str, style: Paint) -> None:
    last = style(problem, "bad") if problem else style(f"{datetime.now():%H:%M:%S}  Ctrl-C ends it", "dim")  # noqa: DTZ005 - a wall clock
    text = "".join(f"{line}{_CLEAR_LINE}\n" for line in (*shown, "", last))
    click.echo(f"{_HOME}{text}{_CLEAR_BELOW}", nl=False, color=True)
