"""`segwatch stop`: all agents end all probing within a second; `--resume` lets them probe again."""

from __future__ import annotations

import getpass

import click

from cli import options
from cli.client import Client
from cli.options import Endpoint
from coordinator.api.responses.runs import Stopped
from coordinator.api.responses.status import Status


@click.command("stop", epilog='Example: segwatch stop --reason "maintenance of the core" --state-dir /var/lib/segwatch')
@click.option("--reason", metavar="TEXT", default="", help="Why; it is shown wherever the stop is.")
@click.option("--by", metavar="NAME", help="Who stops it or resumes; your user name otherwise.")
@click.option("--resume", is_flag=True, help="Probe again.")
@options.coordinator
@options.common
def command(*, endpoint: Endpoint, reason: str, by: str | None, resume: bool) -> None:
    """End all probing of all agents, now and until it is resumed.

    Agents that connect later are stopped too, and so they stay when the coordinator is restarted. What is not probed grows
    stale: nothing stays green for long.
    """
    client, who = Client(endpoint), by or getpass.getuser()
    if resume:
        before = client.get("status", Status).stopped
        client.post("resume", Stopped, by=who)
        click.echo("Probing goes on." if before else "Nothing was stopped.")
        return
    stopped = client.post("stop", Stopped, reason=reason, by=who).stopped
    click.echo(f"All probing is stopped: {stopped}. To go on: segwatch stop --resume")
