"""The verb: fetches the body and renders it."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

import click
import msgspec

from cli import options
from cli.client import Client
from cli.errors import Problem
from cli.files import check_writable, replace_file
from cli.options import Endpoint
from cli.show.render import labelled, paint, show
from coordinator.api.responses.report import Report


@click.command(
    "report",
    epilog="Example: segwatch report --state-dir /var/lib/segwatch --out report.html, then print it from a browser",
)
@options.output("html", "json", "csv", "markdown")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write it; else it is printed.",
)
@click.option(
    "--since", metavar="TIME", help="With what happened since: 30d (ago), 2026-11-01 (UTC) or 2026-11-01T06:00:00Z."
)
@click.option("--until", metavar="TIME", help="Where that period ends, when not now.")
@options.coordinator
@options.common
def command(*, endpoint: Endpoint, output: str, out: Path | None, since: str | None, until: str | None) -> None:
    """Make a report to hand over: what was tested, how it was proven, what was found, and what was not tested.

    Every figure is of the moment at which it is made. With --since it tells what happened in a period as well.
    """
    from cli.report.period import moment  # noqa: PLC0415 - for `--help` this is too slow

    if until is not None and since is None:
        raise click.UsageError("--until ends a period: give --since too")
    now = dt.datetime.now(dt.UTC)
    asked = {"since": moment(since, now, what="--since"), "until": moment(until, now, what="--until")}
    if output == "html" and out is None and sys.stdout.isatty():
        raise Problem("a page cannot be read on a terminal", "Give --out report.html, or another format with -o.")
    if out is not None:
        check_writable(out)
    body = Client(endpoint).get("report", Report, **asked)
    text = rendered(body, output)
    if out is None:
        click.echo(text, nl=False)
        return
    replace_file(out, text)
    from cli.report.words import verdict  # noqa: PLC0415 - after the file, which matters more

    word, said = verdict(body)
    show(labelled("", f"{out}: {word}, {said}", paint().width, 0))


def rendered(body: Report, output: str) -> str:
    """The report in one of its formats; each is imported when it is asked for."""
    match output:
        case "html":
            from cli.report.page import page  # noqa: PLC0415

            return page(body)
        case "markdown":
            from cli.report.markdown import markdown  # noqa: PLC0415

            return markdown(body)
        case "csv":
            from cli.report.csv import rows  # noqa: PLC0415

            return rows(body)
        case _:
            return json.dumps(msgspec.to_builtins(body), indent=2) + "\n"
