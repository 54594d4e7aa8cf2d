"""`segwatch explain`: why a cell has the result it has, and what would settle it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import click

from cli import options
from cli.client import Client
from cli.errors import Problem
from cli.files import check_writable
from cli.options import Endpoint
from cli.show.exchange import NOTHING_KEPT, pcap, write
from cli.show.explanation import explanation
from cli.show.render import (
    paint,
    short_ports,
    show,
)
from cli.show.trace import traced
from coordinator.api.responses.estate import Cell
from coordinator.api.responses.proof import Explanation

T = TypeVar("T")


@click.command(
    "explain",
    epilog="Example: segwatch explain --from dev-1 --to 10.30.0.21 --port tcp/5000 --state-dir /var/lib/segwatch",
)
@click.argument("finding", required=False)
@click.option("--from", "source", metavar="AGENT", help="An agent, or an environment.")
@click.option("--to", "destination", metavar="ADDRESS", help="An address, a name or environment.service.")
@click.option("--port", metavar="PORT", help="Such as tcp/5000, udp/53 or icmp.")
@pcap
@click.option("--trace", is_flag=True, help="Trace it now: by which hops its packets go, and where they stop.")
@options.output("table", "json")
@options.coordinator
@options.common
def command(
    *,
    endpoint: Endpoint,
    output: str,
    finding: str | None,
    source: str | None,
    destination: str | None,
    port: str | None,
    pcap: Path | None,
    trace: bool,
) -> None:
    """Explain a FINDING, or any cell: what was declared, sent, seen and controlled, and what would settle it."""
    if bool(finding) is bool(source or destination or port) or (not finding and not (source and destination and port)):
        raise click.UsageError("name a FINDING, or all of --from, --to and --port")
    if pcap is not None:
        check_writable(pcap)
    query = {"finding": finding, "from": source, "to": destination, "port": port}
    if output == "json" and pcap is None:
        click.echo(json.dumps(_ask(endpoint, object, query, trace=trace), indent=2))
        return
    body = _ask(endpoint, Explanation, query, trace=trace)
    if pcap is None:
        show(explanation(body, paint()))
    elif body.exchange is None or body.cell is None or body.round is None:
        raise Problem("no packet of this cell is kept", NOTHING_KEPT)
    else:
        write(pcap, [body.exchange], _about(body.cell, body.round.id))


def _ask(endpoint: Endpoint, kind: type[T], query: Mapping[str, str | None], *, trace: bool) -> T:
    return traced(endpoint, kind, query) if trace else Client(endpoint).get("explain", kind, **query)


def _about(cell: Cell, name: str) -> str:
    """What the file says of itself."""
    where = f"{cell.agent} {cell.source_address} to {cell.address}"
    return f"{where} {short_ports(cell.ports, cell.protocol)}: {cell.reachability}, round {name}"
