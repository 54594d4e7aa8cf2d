"""`segwatch findings`: what a person must look at, and `findings ack` to take one on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from cli import options
from cli.client import Client
from cli.errors import Problem
from cli.files import check_writable
from cli.options import Endpoint
from cli.show.exchange import NOTHING_KEPT, write
from cli.show.grid import harm, headline, live, sentence, standing_counted
from cli.show.render import Paint, clean, clock, glyph_of, labelled, paint, plural, short_ports, show, visible
from cli.watching import put
from coordinator.api.responses.estate import Finding, Taken
from coordinator.api.responses.packets import Packets


@click.group(
    "findings",
    invoke_without_command=True,
    epilog="Example: segwatch findings --state-dir /var/lib/segwatch -o json",
)
@options.output("table", "json")
@click.option("--all", "resolved", is_flag=True, help="In the table, those that were resolved recently too.")
@options.watched
@options.coordinator
@options.common
@click.pass_context
def command(context: click.Context, *, endpoint: Endpoint, output: str, resolved: bool, watch: bool) -> None:
    """List findings: one per cause, the most severe first."""
    context.obj = endpoint
    if context.invoked_subcommand is not None:
        return
    client, style = Client(endpoint), paint()
    put(
        output,
        watch=watch,
        body=lambda: client.get("findings", object),
        lines=lambda: listing(client.get("findings", tuple[Finding, ...]), style, resolved=resolved),
        style=style,
    )


@command.command("ack", epilog="Example: segwatch findings ack F-3a91c0 --by ada --reason 'closing it today'")
@click.argument("finding", metavar="ID")
@click.option("--by", required=True, metavar="NAME", help="Who takes it on.")
@click.option("--reason", required=True, metavar="TEXT", help="What is being done about it.")
@options.coordinator
@options.common
@click.pass_obj
def acknowledge(outer: Endpoint, *, endpoint: Endpoint, finding: str, by: str, reason: str) -> None:
    """Take a finding on: it stays until it is proven closed, but alerts nobody again."""
    Client(endpoint or outer).post(f"findings/{finding}/ack", Taken, by=by, reason=reason)
    show([f"{finding} acknowledged by {by}: {reason}"])


@command.command("export", epilog="Example: segwatch findings export F-3a91c0 --pcap leak.pcapng")
@click.argument("finding", metavar="ID")
@click.option(
    "--pcap",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write the packets of both sides, for Wireshark and tshark.",
)
@options.coordinator
@options.common
@click.pass_obj
def export(outer: Endpoint, *, endpoint: Endpoint, finding: str, pcap: Path) -> None:
    """Write the packets that made a finding to a pcapng file, each with a comment that says what it is."""
    check_writable(pcap)
    body = Client(endpoint or outer).get(f"findings/{finding}/packets", Packets)
    if not body.exchanges:
        raise Problem(f"no packet of {finding} is kept", NOTHING_KEPT)
    rounds = ", ".join(dict.fromkeys(exchange.round for exchange in body.exchanges))
    write(pcap, body.exchanges, f"{body.finding}, as rounds {rounds} showed it")


def listing(body: Sequence[Finding], style: Paint, *, resolved: bool = False) -> list[str]:
    """One sentence, then a block per finding."""
    failing = live(body)
    waived = sum(finding.result == "waived" for finding in body)
    gone = sum(finding.status == "resolved" for finding in body)
    rest = [f"{waived} waived"] * bool(waived) + [f"{gone} resolved recently"] * bool(gone)
    if failing:
        lines = sentence(style, "FAIL", "bad", " · ".join([plural(len(failing), "finding"), *rest]))
    else:
        text = " · ".join(["no finding stands", *rest, "what is unproven is not a finding: segwatch coverage"])
        lines = sentence(style, "OK", "good", text)
    for finding in body:
        if finding.status != "resolved" or resolved:
            lines += ["", *block(finding, style)]
    return lines


def block(finding: Finding, style: Paint) -> list[str]:
    """A finding in four lines: what, where, why it matters, what next."""
    glyph, tone = glyph_of(finding.result)
    name = f"{glyph} {finding.id}  "
    tags = " · ".join([finding.severity, ", ".join(finding.cwe)]) if finding.cwe else finding.severity
    title = clean(headline(finding))
    room = style.width - len(name) - len(title) - len(tags)
    head = style(name, tone) + style(title, "bold")
    lines = [head + " " * room + tags] if room > 1 else [head, f"    {tags}"]
    source, destination = finding.source, finding.destination
    service = f" {destination.service}" if destination.service else ""
    addresses = ", ".join(destination.addresses[:3]) + (
        f", … ({len(destination.addresses)})" if len(destination.addresses) > 3 else ""  # noqa: PLR2004
    )
    ports = short_ports(finding.ports, finding.protocol, 30)
    identified = f' "{clean(finding.identified)}"' if finding.identified else ""
    lines += labelled(
        "", f"{source.agent} → {destination.environment}{service} {addresses} {ports}{identified}", style.width, 4
    )
    proof = f"{finding.reachability}, {finding.proof}: {finding.reason}; declared {finding.declared}"
    lines.append(f"    seen     {proof}")
    if finding.impact:
        lines += ["    " + line for line in labelled("why", harm(finding), style.width - 4, 9)]
    times = f"{standing_counted(finding)}, first seen {clock(finding.first_seen)}, last {clock(finding.last_seen)} UTC"
    lines.append(f"    life     {times}, {plural(finding.cells, 'cell')}")
    if finding.result == "fail":
        lines.append(f"    next     segwatch explain {finding.id}")
    return [line if visible(line) <= style.width else line.rstrip() for line in lines]
