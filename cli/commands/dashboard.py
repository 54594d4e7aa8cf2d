"""`segwatch dashboard`: the live view of a running coordinator, in the terminal or (--web) in the browser."""

from __future__ import annotations

import os
import sys

import click

from cli import options
from cli.client import Client
from cli.errors import Problem
from cli.options import Endpoint
from coordinator.api.responses.status import Status


@click.command("dashboard", epilog="Example: segwatch dashboard --state-dir /var/lib/segwatch")
@click.option("--web", is_flag=True, help="Print the address of the coordinator's page, and open it in a browser.")
@options.coordinator
@options.common
def command(*, endpoint: Endpoint, web: bool) -> None:
    """Watch the matrix, the findings and the agents, live.

    Arrow keys move, Tab goes from matrix to findings, Enter explains what is under the cursor, / filters, q leaves.
    """
    client = Client(endpoint)
    status = client.get("status", Status)
    if web:
        url = endpoint.url or status.web
        if not url:
            raise Problem("this coordinator serves no page", "Start it with --web 127.0.0.1:8600.")
        click.echo(url)
        if click.launch(url):
            click.echo("No browser was found here: open the address in yours.", err=True)
        return
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise Problem("the dashboard needs a terminal", "Without one: segwatch matrix, segwatch findings.")
    if not options.look().color:
        os.environ["NO_COLOR"] = "1"  # textual reads it when it is imported
    from cli.dashboard.app import Dashboard  # noqa: PLC0415 - textual is slow to import, and not for the other verbs

    Dashboard(client).run()
