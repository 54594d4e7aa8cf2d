"""`segwatch stop`: all agents end all probing within a second; `segwatch resume` lets them probe again."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Sequence

import click

from cli import options
from cli.client import Client
from cli.commands.resume import resumed
from cli.options import Endpoint
from cli.show.render import plural
from coordinator.api.responses.runs import Stopped
from coordinator.api.responses.status import Agent, Status

CONFIRM_S, POLL_S = 5.0, 0.5


@click.command("stop", epilog='Example: segwatch stop --reason "maintenance of the core" --state-dir /var/lib/segwatch')
@click.option("--reason", metavar="TEXT", default="", help="Why; it is shown wherever the stop is.")
@click.option("--by", metavar="NAME", help="Who stops it or resumes; your user name otherwise.")
@click.option("--resume", is_flag=True, help="Probe again, as `segwatch resume` does.")
@options.coordinator
@options.common
def command(*, endpoint: Endpoint, reason: str, by: str | None, resume: bool) -> None:
    """End all probing of all agents, now and until it is resumed.

    It waits some seconds for the agents to confirm that all of theirs has ended, and says who has and who has not;
    `segwatch agents` says it later. Agents that connect later are stopped too, and so they stay when the coordinator is
    restarted. What is not probed grows stale: nothing stays green for long.
    """
    client, who = Client(endpoint), by or getpass.getuser()
    if resume:
        click.echo(resumed(client, who))
        return
    stopped = client.post("stop", Stopped, reason=reason, by=who).stopped
    click.echo(f"All probing is stopped: {stopped}. To go on: segwatch resume")
    for line in confirmed(client):
        click.echo(line)


def confirmed(
    client: Client, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> list[str]:
    """Who has confirmed within some seconds, and who has not; nothing of a coordinator that does not know."""
    until = clock() + CONFIRM_S
    while True:
        agents = client.get("status", Status).agents
        waited_for = [agent for agent in agents if agent.stop == "not yet" and agent.state == "connected"]
        if not waited_for or clock() >= until:
            return _in_words(agents)
        sleep(POLL_S)


def _in_words(agents: Sequence[Agent]) -> list[str]:
    known = [agent for agent in agents if agent.stop is not None]
    if not known:
        return []
    open_ = [agent for agent in known if agent.stop != "confirmed"]
    lines = [f"confirmed: {len(known) - len(open_)} of {plural(len(known), 'agent')}"]
    for agent in open_:
        if agent.stop == "unable":
            why = "its version cannot say; upgrade it"
        elif agent.state == "connected":
            why = "it is connected; look at its host, and again: segwatch agents"
        elif agent.state == "missing":
            why = "it never connected; it is told when it comes"
        else:
            why = f"it is {agent.state}; it is told when it comes, and stops by itself a minute after it last heard an order"
        lines.append(f"! {agent.name} has not confirmed: {why}")
    return lines
