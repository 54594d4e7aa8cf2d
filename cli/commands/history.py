"""`segwatch history`: what happened to findings and to agents' certificates, the newest first."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click
import msgspec

from cli import options
from cli.client import Client
from cli.options import Endpoint
from cli.show.render import Paint, clip, clock, paint, show, table
from coordinator.api.responses.status import Event

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
    client = Client(endpoint)
    if output == "json":
        events = msgspec.convert(client.get("history", object), list[dict[str, object]])
        click.echo(json.dumps([event for event in events if finding in {None, event.get("finding")}], indent=2))
        return
    show(listing([event for event in client.get("history", list[Event]) if finding in {None, event.finding}], paint()))


def listing(body: Sequence[Event], style: Paint) -> list[str]:
    """A line per event; times in UTC."""
    if not body:
        return ["Nothing has happened yet."]
    rows = []
    for event in body:
        glyph, tone = _GLYPHS.get(event.what, ("·", "dim"))
        by = f"{event.by}: " if event.by else ""
        rows.append(
            [
                clock(event.at),
                f"{style(glyph, tone)} {event.finding or event.agent}",
                event.what,
                clip(by + event.text, 60),
            ]
        )
    return table(rows)
