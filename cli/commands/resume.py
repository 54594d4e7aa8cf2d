"""`segwatch resume`: agents may probe again after a stop."""

from __future__ import annotations

import getpass

import click

from cli import options
from cli.client import Client
from cli.options import Endpoint
from coordinator.api.responses.runs import Stopped
from coordinator.api.responses.status import Status


@click.command("resume", epilog="Example: segwatch resume --state-dir /var/lib/segwatch")
@click.option("--by", metavar="NAME", help="Who resumes it; your user name otherwise.")
@options.coordinator
@options.common
def command(*, endpoint: Endpoint, by: str | None) -> None:
    """Let all agents probe again, after `segwatch stop`."""
    click.echo(resumed(Client(endpoint), by or getpass.getuser()))


def resumed(client: Client, by: str) -> str:
    """Resume, and say whether there was anything to."""
    before = client.get("status", Status).stopped
    client.post("resume", Stopped, by=by)
    return "Probing goes on." if before else "Nothing was stopped."
