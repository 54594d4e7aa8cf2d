"""The packets of a cell on a terminal, and in a file that Wireshark opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from cli.errors import Problem
from cli.show.render import Paint, clip, labelled, plural, table
from coordinator.api.responses.packets import Exchange, Packet
from wire.messages import VERSION

_WORDS = {
    "sent": "sent",
    "arrived": "arrived",
    "answered": "answered",
    "came-back": "came back",
    "strange": "no token",
    "instead": "instead",
}
_TOKEN = {
    "tcp": "a copy's seq and TSval are its token",
    "udp": "a copy's payload begins with its token",
    "icmp": "a copy's payload begins with its token",
}
MOST_LINES = 24
NOTHING_KEPT = (
    "An agent keeps them where it may send raw packets (`segwatch agent --check`), from this version on: "
    "`segwatch verify` makes a new round."
)

pcap = click.option(
    "--pcap",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the packets of both sides to a pcapng file, for Wireshark and tshark.",
)


def timeline(exchange: Exchange, style: Paint) -> list[str]:
    """What both sides saw, one packet per line."""
    packets, clocks = exchange.packets, exchange.clocks
    zero = next((packet.at_ms for packet in packets if packet.side == "source"), 0.0)
    mine = [packet for packet in packets if packet.side == "source" or clocks]
    rest = [packet for packet in packets if packet not in mine]
    shifts = {"source": -zero, "witness": clocks.shift_ms - zero if clocks else 0.0}

    def drawn(some: Sequence[Packet]) -> list[str]:
        rows = [_row(packet, shifts[packet.side], exchange.destination) for packet in some]
        return [clip(line, style.width) for line in table(rows, indent=1)]

    lines = [*labelled("packets", _heading(exchange), style.width), *drawn(mine[:MOST_LINES])]
    if len(mine) > MOST_LINES:
        lines.append(f"{'':11}… {plural(len(mine) - MOST_LINES, 'more packet')}: --pcap FILE has them all")
    return [*lines, *_listened(exchange, drawn(rest), style)]


def write(path: Path, exchanges: Sequence[Exchange], about: str) -> None:
    """Write them, and say what is in the file."""
    from coordinator.packets.pcapng import agents, pcapng  # noqa: PLC0415 - for this option alone

    kept = msgspec.to_builtins(exchanges)
    try:
        path.write_bytes(pcapng(kept, about, f"segwatch {VERSION}"))
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}") from error
    count = sum(len(exchange.packets) for exchange in exchanges)
    told = f"{path}: {plural(count, 'packet')} of {plural(len(exchanges), 'cell')}"
    click.echo(f"{told}, as {' and '.join(agents(kept))} saw them.")


def _heading(exchange: Exchange) -> str:
    source, witness, clocks = exchange.source.agent, exchange.witness, exchange.clocks
    parts = [f"ms since {source} sent the first", _TOKEN.get(exchange.protocol, "")]
    if not exchange.exact:
        port = f"{exchange.protocol}/{exchange.port}"
        parts.insert(0, f"of {port}, which looked the same: none of the port itself are kept")
    if clocks is not None:
        close = f", to {clocks.within_ms:.3f} ms" if clocks.within_ms is not None else ""
        theirs = witness.agent if witness else "the witness"
        parts.append(f"{theirs}'s clock is laid over {source}'s by the copies that both saw{close}")
    return "; ".join(filter(None, parts))


def _row(packet: Packet, shift_ms: float, cell: str) -> tuple[str, ...]:
    at = f"{packet.at_ms + shift_ms:>10.3f}"
    return at, packet.agent, _WORDS.get(packet.what, packet.what), packet.said, _flow(packet), _facts(packet, cell)


def _flow(packet: Packet) -> str:
    """The ports; the whole address of whoever is not part of the cell."""
    source, destination = packet.source_port, packet.destination_port
    if packet.what != "instead":
        return "" if source is None else f":{source} → :{destination}"
    ipv6 = ":" in (packet.source or "") and source is not None
    whole = f"[{packet.source}]" if ipv6 else packet.source
    return f"{whole}:{source} → :{destination}" if source is not None else f"{whole} →"


def _facts(packet: Packet, cell: str) -> str:
    """What tells one packet from another; `cell` is the address that an answer needs no words for."""
    facts = []
    if packet.copy is not None:
        facts.append(f"copy {packet.copy}")
    if packet.what == "sent" and packet.copy is None:
        facts.append("kernel")
    if packet.what == "sent" and packet.seq is not None:
        facts.append(f"seq {packet.seq:08x} TSval {packet.ts_val or 0:08x}")
    elif packet.what == "sent" and packet.payload:
        facts.append(f"payload {packet.payload}")
    elif packet.ack and packet.what in {"answered", "came-back"}:
        facts.append(f"ack {packet.ack:08x}")
    if packet.what in {"arrived", "came-back", "strange"}:
        facts.append(f"TTL {packet.ttl}")
    if packet.what == "came-back" and packet.source != cell:
        facts.append(f"from {packet.source}")
    if packet.rtt_ms is not None:
        facts.append(f"{packet.rtt_ms:.3f} ms")
    return ", ".join(facts)


def _listened(exchange: Exchange, instead: Sequence[str], style: Paint) -> list[str]:
    """Where the witness saw nothing of the cell: that it was listening, and what it saw instead, by its own clock."""
    witness = exchange.witness
    if witness is None or exchange.clocks:
        return []
    health = "healthy" if witness.healthy else f"not healthy: {witness.why}"
    listened = f"armed within {witness.armed_ms:.0f} ms and listened for {witness.listened_s:.1f} s"
    text = f"{witness.agent} was {listened}, {health}; it captured {plural(witness.off_host, 'packet')} of other hosts"
    if instead:
        text += f", among them (ms since {witness.agent} was asked to listen, by its own clock):"
    return [*labelled("", text, style.width), *instead]
