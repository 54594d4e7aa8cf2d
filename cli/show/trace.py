"""`segwatch explain --trace`: by which hops the packets of a cell go, and where they stop."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import groupby
from typing import TypeVar

import click

from cli import options
from cli.client import Client
from cli.options import Endpoint
from cli.show.render import Paint, labelled, plural, table
from coordinator.api.responses.packets import Trace

T = TypeVar("T")
LONGEST_S = 90.0  # an agent that hangs; a trace takes some seconds
ANSWERS = {
    "syn-ack": "SYN-ACK",
    "reset": "RST",
    "echo-reply": "echo reply",
    "udp-response": "reply",
    "port-unreach": "ICMP port unreachable",
    "host-unreach": "ICMP host unreachable",
    "net-unreach": "ICMP net unreachable",
    "admin-prohibited": "ICMP admin prohibited",
    "ttl-exceeded": "ICMP TTL exceeded",
}
_INDENT = 3


def traced(endpoint: Endpoint, kind: type[T], query: Mapping[str, str | None]) -> T:
    """The explanation of a cell with its trace, which is made now; a `Problem` says why there is none."""
    if not options.look().quiet and sys.stderr.isatty():
        click.echo("tracing: a few seconds …", err=True)
    client = Client(endpoint, LONGEST_S)
    asked = {name: value for name, value in query.items() if value is not None}
    return client.post("trace", kind, **asked)


def traces(trace: Trace, style: Paint) -> list[str]:
    """What it shows: one sentence, then a line per hop; silent hops in a row are one line."""
    lines = labelled("trace", trace.text, style.width)
    rows = []
    for silent, group in groupby(trace.hops, key=lambda hop: hop.address is None):
        hops = list(group)
        if silent:
            first, last = hops[0].ttl, hops[-1].ttl
            span = f"{first}" if first == last else f"{first}-{last}"
            rows.append([span, "", "", f"silence ({plural(sum(hop.sent for hop in hops), 'packet')})"])
            continue
        for hop in hops:
            rtt = f"{hop.rtt_ms:.3f} ms" if hop.rtt_ms is not None else ""
            rows.append([f"{hop.ttl}", hop.address or "", rtt, ANSWERS.get(hop.reason, hop.reason)])
    lines += table([[style(head, "dim") for head in ("TTL", "from", "after", "says")], *rows], indent=_INDENT)
    via = f" via {trace.via}" if trace.via else ""
    about = f"round {trace.round}: {plural(trace.packets, 'packet')} from {trace.source_address}{via}"
    return [*lines, *labelled("", f"{about}, {trace.seconds:.1f} s", style.width, _INDENT)]
