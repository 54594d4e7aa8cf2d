"""What a running coordinator's agents see DNS names at, for a command that can do without."""

from __future__ import annotations

import click

from cli.client import Client
from cli.errors import Problem
from cli.options import Endpoint
from coordinator.api.responses.names import Names
from coordinator.topology.lint_names import Seen
from reachability.observation import Lookup


def seen_by_agents(endpoint: Endpoint) -> Seen:
    """Name to agent to its answer; nothing, and a word on stderr, where no coordinator answers.

    Nobody is asked where none is named.
    """
    if not endpoint:
        return {}
    try:
        known = Client(endpoint).get("names", Names)
    except Problem as problem:
        click.echo(f"names were not held against what agents see: {problem.lines[0]}", err=True)
        return {}
    return {
        name.name: {
            at.agent: Lookup(name=name.name, addresses=at.addresses, wildcard=at.wildcard or "") for at in name.seen
        }
        for name in known.names
    }
