"""`segwatch probe`: one probe once, with its evidence. It judges nothing: that takes a witness and controls."""

from __future__ import annotations

import asyncio
import json
from ipaddress import ip_address

import click

from cli import options
from cli.show.render import Paint, clean, labelled, paint, plural, show
from probes.kinds.single import ProbeRequest, ProbeResult
from reachability.ports import text_of
from reachability.topology import is_address
from reachability.vocabulary import State

KINDS = ("tcp", "udp", "icmp", "dns", "tls")  # as probes.kinds.table has them, which is slow to import
_TONES = {State.OPEN: "bold", State.CLOSED: "bold", State.ERROR: "warn"}
_MOST_PORT = 65535


@click.command("probe", epilog="Example: segwatch probe tcp 127.0.0.1:22")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("target")
@options.output("table", "json")
@options.common
def command(kind: str, target: str, output: str) -> None:
    """One probe once: what was sent, what came back, and what that proves.

    TARGET is HOST:PORT (tcp, udp, tls), HOST (icmp) or NAME[@SERVER] (dns); IPv6 with a port as [::1]:22.
    """
    ask = _ask(kind, target)
    from probes.kinds import table  # noqa: PLC0415 - ssl and asyncio, which `--help` does not pay for

    found = asyncio.run(table.run(kind, ask))
    lacks = tuple(dict.fromkeys([*table.can_run(kind), *([found.lacks] if found.lacks else [])]))[:1]
    if output == "json":
        click.echo(json.dumps(_body(found, lacks), indent=2))
        return
    show(report(kind, ask, found, lacks, paint(), table.KINDS[kind]))


def _ask(kind: str, target: str) -> ProbeRequest:
    if kind == "dns":
        name, _, server = target.partition("@")
        if not name or (server and not is_address(server)):
            raise click.UsageError(f"'{target}' is not NAME or NAME@ADDRESS")
        return ProbeRequest(name, server=str(ip_address(server)) if server else "")
    if kind == "icmp":
        host = target.strip("[]")
        return ProbeRequest(str(ip_address(host)) if is_address(host) else _name(host, target))
    host, colon, port = target.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) <= _MOST_PORT:
        raise click.UsageError(f"'{target}' is not HOST:PORT, with a port from 1 to {_MOST_PORT}")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare and bare == host:
        raise click.UsageError(f"'{target}': write an IPv6 address in brackets, like [{host}]:{port}")
    return ProbeRequest(str(ip_address(bare)) if is_address(bare) else _name(bare, target), int(port))


def _name(host: str, target: str) -> str:
    if not host or any(not (c.isalnum() or c in "-._") for c in host):
        raise click.UsageError(f"'{target}' names no host")
    return host


def _body(found: ProbeResult, lacks: tuple[str, ...]) -> dict[str, object]:
    o = found.observation
    names = ("kind", "name", "source_address", "address", "protocol", "ports", "state", "reason", "refused_by", "way")
    more = ("kernel", "via", "sent", "flows", "refused", "hops", "rtt_ms", "said", "note")
    body: dict[str, object] = {name: getattr(o, name) or None for name in (*names, *more)}
    body |= {
        "ports": text_of(o.ports) or None,
        "hops": o.hops,
        "sent": o.sent,
        "refused": o.refused,
        "flows": o.flows,
        "lacks": lacks[0] if lacks else None,
    }
    return {**body, "more": [{"what": what, "text": text} for what, text in found.lines]}


def report(
    kind: str, ask: ProbeRequest, found: ProbeResult, lacks: tuple[str, ...], style: Paint, entry: object
) -> list[str]:
    """The observation in a sentence, then its evidence, then what it proves."""
    from probes.kinds.table import Kind  # noqa: PLC0415

    assert isinstance(entry, Kind)
    o = found.observation
    port = f":{ask.port}" if entry.has_port else ""
    where = f"[{ask.address}]{port}" if ":" in ask.address and port else f"{ask.address}{port}"
    named = f" ({ask.name})" if ask.name and o.address != ask.name else ""
    if kind == "dns":
        where, named = ask.host, f" at {ask.server}" if ask.server else ""
    took = f" after {o.rtt_ms:.3g} ms" if o.rtt_ms is not None else ""
    head = f"{kind} {where}{named}: {o.reason.value}{took}"
    lines = [f"{style(o.state.value, _TONES.get(o.state, ''))}  {head}"]

    def line(label: str, text: str) -> None:
        lines.extend(f"  {part}" for part in labelled(label, clean(text), style.width - 2, 11))

    if o.sent:
        answered = f", answered over {plural(o.hops, 'hop')}" if o.hops is not None else ""
        refused = f", {o.refused} refused by {o.refused_by}" if o.refused else ""
        line("raw", f"{plural(o.sent, 'copy', 'copies')} sent from {o.source_address} via {o.via}{answered}{refused}")
    if o.kernel:
        line("sendto" if kind == "udp" else "connect", o.kernel)
    if o.note:
        line("said" if o.state is State.OPEN else "why", o.note)
    for label, text in found.lines:
        line(label, text)
    for text in lacks:
        line("lacks", text)
    known = o.state in {State.OPEN, State.CLOSED}
    line("proves", entry.says("Proves") if known else "nothing: silence and errors are not evidence of a firewall")
    line("blind to", entry.says("Blind to"))
    return lines
