"""`segwatch coverage`: how much of what must be proven is proven, and what is not, by pair of environments."""

from __future__ import annotations

import json

import click

from cli import options
from cli.client import Client
from cli.options import Endpoint
from cli.show.grid import sentence
from cli.show.losses import lost_line
from cli.show.render import Paint, labelled, paint, percent, plural, show, table
from cli.show.untested import sentence as not_tested
from coordinator.api.responses.estate import Coverage


@click.command("coverage", epilog="Example: segwatch coverage --state-dir /var/lib/segwatch")
@options.output("table", "json")
@options.coordinator
@options.common
def command(*, endpoint: Endpoint, output: str) -> None:
    """Show how much of what must be proven is proven."""
    client = Client(endpoint)
    if output == "json":
        click.echo(json.dumps(client.get("coverage", object), indent=2))
        return
    show(listing(client.get("coverage", Coverage), paint()))


def listing(body: Coverage, style: Paint) -> list[str]:
    """One sentence, a line per pair, and what lies outside."""
    whole = body.coverage >= 1.0
    text = f"proven: {body.proven:,} of {plural(body.required, 'required cell')}"
    lines = [*sentence(style, percent(body.coverage), "good" if whole else "warn", text), ""]
    titles = ("", "proven", "", "no packet", "no session", "inconclusive", "stale", "not run", "beyond proof")
    rows = [[style(title, "dim") for title in titles]]
    for pair in body.pairs:
        full = pair.coverage >= 1.0
        glyph = style("■", "good") if full else style("?", "warn")
        rows.append(
            [
                f"{pair.source} → {pair.destination}",
                f"{glyph} {percent(pair.coverage)}",
                f"{pair.proven:,}/{pair.required:,}",
                _count(pair.no_packet, style, ""),
                _count(pair.no_session, style, ""),
                *(_count(count, style, "warn") for count in (pair.inconclusive, pair.stale, pair.not_run)),
                _count(pair.beyond_proof, style, ""),
            ]
        )
    lines += table(rows)
    for service in body.not_swept:
        hosts = ", ".join(service.hosts)
        lines.append(f"  not swept: {service.environment}.{service.service} ({hosts}), by `sweep: false`")
    if body.beyond_proof:
        lines.append("  beyond proof: UDP that is silent on hosts without an agent; an agent there would settle it")
    if said := not_tested(body):
        lines += labelled(" ", said, style.width, 2)
    lines += [f"{style('!', 'warn')} {lost_line(lost.agent, lost)}" for lost in body.lost]
    if not whole:
        lines.append("  segwatch matrix --cells shows which cells; segwatch explain --from A --to B --port P shows why")
    return lines


def _count(count: int, style: Paint, tone: str) -> str:
    return style(f"{count:,}", tone) if count else style("·", "dim")
