"""`segwatch history`: what happened to findings and to agents' certificates, the newest first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from cli import options
from cli.client import Client
from cli.options import Endpoint
from cli.show.render import Paint, clip, clock, paint, show, table

Body = Mapping[str, Any]
_GLYPHS = {
    "opened": ("✗", "bad"),
    "reopened": ("✗", "bad"),
    "confirmed": ("✗", "bad"),
    "resolved": ("✓", "good"),
    "waived": ("~", "warn"),
    "acknowledged": ("~", "warn"),
    "revoked": ("✗", "warn"),
}


@click.command("history", epilog="Example: segwatch history --state-dir /var/lib/segwatch --finding F-3a91c0")
@options.output("table", "json")
@click.option("--finding", metavar="ID", help="Only what happened to this one.")
@options.coordinator
@options.common
def command(*, endpoint: Endpoint, output: str, finding: str | None) -> None:
    """Show what happened to findings, and to agents' certificates."""
    body = [event for event in Client(endpoint).get("history") if finding in {None, event["finding"]}]
    if output == "json":
        click.echo(json.dumps(body, indent=2))
        return
    show(listing(body, paint()))


def listing(body: Sequence[Body], style: Paint) -> list[str]:
    """A line per event; times in UTC."""
    if not body:
        return ["Nothing has happened yet."]
    rows = []
    for event in body:
        glyph, tone = _GLYPHS.get(event["what"], ("·", "dim"))
        by = f"{event['by']}: " if event["by"] else ""
        rows.append(
            [
                clock(event["at"]),
                f"{style(glyph, tone)} {event['finding'] or event['agent']}",
                event["what"],
                clip(by + event["text"], 60),
            ]
        )
    return table(rows)
