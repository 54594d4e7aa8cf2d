"""`segwatch plan`: what would be probed, by whom, how many packets, how long. It sends nothing."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import click

from cli import options
from cli.loading import load
from cli.show.render import labelled, paint, plural, short_ports, show, table
from cli.show.uncontrolled import lines_of
from coordinator.tasks import Task, declared_costs, tasks
from reachability.plan import build_plan
from reachability.ports import text_of
from reachability.sides import Sides
from reachability.topology import Topology
from reachability.uncontrolled import by_declaration
from reachability.vocabulary import Schedule


@click.command("plan", epilog="Example: segwatch plan -f topology.yaml")
@options.topology()
@click.option("--agent", metavar="NAME", help="Each task of this agent.")
@options.output("table", "json")
@options.common
def command(topology: Path, agent: str | None, output: str) -> None:
    """What would be probed, by whom, with how many packets and how long; no packet is sent."""
    loaded = load(topology)
    known = loaded.agents()
    if agent is not None and agent not in known:
        raise click.UsageError(f"{topology} declares no agent '{agent}'; it declares: {', '.join(known) or 'none'}")
    sides = Sides(loaded)
    cost = [entry for entry in declared_costs(sides) if agent in {None, entry.agent}]
    without = by_declaration(sides)
    if output == "json":
        by_agent = {name: _tasks(loaded, name) for name in known if agent in {None, name}}
        text = cache(text_of)  # few sets of ports, and many lines that have them
        body = {
            "topology": loaded.digest,
            "uncontrolled": [
                {"environment": one.environment, "protocols": [protocol.value for protocol in one.protocols],
                 "cells": one.cells, "share": round(one.share, 6), "settle": one.settle}
                for one in without
            ],
            "costs": [
                {"agent": c.agent, "schedule": c.schedule, "hosts": c.hosts, "cells": c.cells,
                 "packets": c.packets, "seconds": c.seconds}
                for c in cost
            ],
            "agents": {
                name: [
                    {"id": t.id, "kind": t.kind, "environment": t.environment, "host": t.host, "protocol": t.protocol.value,
                     "ports": text(t.ports) or None, "schedule": t.schedule,
                     "witness": t.witness or None, "inside": t.inside or None}
                    for t in lines
                ]
                for name, lines in by_agent.items()
            },
        }  # fmt: skip
        click.echo(json.dumps(body, indent=2))
        return
    style = paint()
    cycle = [c for c in cost if c.schedule is Schedule.CYCLE]
    total = f"{plural(sum(c.cells for c in cycle), 'cell')} a cycle from {plural(len(cycle), 'agent')}"
    every = f"every {loaded.probing.every_s:g} s, at most {loaded.probing.rate_pps:,} packets a second each"
    lines = [f"{total}, {every}. Nothing is sent now.", ""]
    rows = [["agent", "schedule", "hosts", "cells", "packets", "takes about"]]
    rows += [[c.agent, c.schedule, str(c.hosts), f"{c.cells:,}", f"{c.packets:,}", f"{c.seconds:,.0f} s"] for c in cost]
    lines += table(rows)
    mine = [one for one in without if agent is None or known[agent] == one.environment]
    lines += ["", *lines_of(mine, style.width)] if mine else []
    if agent is not None:
        lines += ["", *table([_row(t) for t in _tasks(loaded, agent)])]
    elif any(not a.addresses for e in loaded.environments.values() for a in e.agents.values()):
        lines += [
            "",
            *labelled(
                "",
                "Agents without declared addresses report their own: their hosts are not counted yet.",
                style.width,
                0,
            ),
        ]
    show(lines)


def _tasks(topology: Topology, agent: str) -> list[Task]:
    """The lines of one agent: a plan of all is as long as what all probe."""
    return list(tasks(build_plan(topology, {}, {}, of={agent}), agent))


def _row(task: Task) -> list[str]:
    where = f"{task.environment} {task.host}"
    ports = short_ports(text, task.protocol.value, 30) if (text := text_of(task.ports)) else ""
    who = f"witness {task.witness}" if task.witness else (f"inside {task.inside}" if task.inside else "no control")
    return [str(task.id), task.kind, where, ports, task.schedule, who]
