"""`segwatch agents`: who is there, since when not, what each lacks; and who has confirmed a stop."""

from __future__ import annotations

import json

import click

from cli import options
from cli.client import Client
from cli.options import Endpoint
from cli.show.grid import sentence
from cli.show.render import Paint, clean, clock, labelled, paint, parse_time, plural, show, table
from cli.show.roster import notes
from coordinator.api.responses.status import Agent, Status


@click.command("agents", epilog="Example: segwatch agents --state-dir /var/lib/segwatch")
@options.output("table", "json")
@options.coordinator
@options.common
def command(*, endpoint: Endpoint, output: str) -> None:
    """Show the agents of the topology: who is connected, and, after `segwatch stop`, who has confirmed it."""
    client = Client(endpoint)
    if output == "json":
        click.echo(json.dumps(client.get("status", dict[str, object])["agents"], indent=2))
        return
    show(listing(client.get("status", Status), paint()))


def listing(body: Status, style: Paint) -> list[str]:
    """One sentence, a line per agent, and what there is to say of it."""
    agents, now = body.agents, parse_time(body.now)
    there = sum(agent.state == "connected" for agent in agents)
    said, tone = f"of {plural(len(agents), 'agent')} connected", "good" if there == len(agents) else "warn"
    if body.stopped:
        said += f" · all probing is stopped since {clock(body.stopped_at, now)}: {clean(body.stopped)}"
        said += f" · confirmed by {sum(agent.stop == 'confirmed' for agent in agents)}"
    titles = ("", "environment", "state", *(("stop",) if body.stopped else ()), "version", "last seen")
    rows = [[style(title, "dim") for title in titles]]
    for agent in agents:
        up = agent.state == "connected"
        stop = [style(agent.stop or "unable", "good" if agent.stop == "confirmed" else "warn")] if body.stopped else []
        name = f"{style('●', 'good') if up else style('○', 'warn')} {agent.name}"
        row = [name, agent.environment, agent.state, *stop, clean(agent.version or "-"), clock(agent.last_seen, now)]
        rows.append(row)
    lines = [*sentence(style, str(there), tone, said), "", *table(rows)]
    for agent in agents:
        for note in _said(agent, stopped=bool(body.stopped)):
            lines += labelled(style("!", "warn"), f"{agent.name}: {note}", style.width, 2)
    if body.stopped:
        lines.append("  to go on: segwatch resume")
    return lines


def _said(agent: Agent, *, stopped: bool) -> list[str]:
    """Its notes; why it sends nothing goes without saying while nobody does."""
    mine = [f"sends nothing now: {clean(agent.not_now)}"] if agent.not_now and not stopped else []
    return [*mine, *notes(agent)]
