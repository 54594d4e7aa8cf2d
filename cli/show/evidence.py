"""What a round showed of a cell, in words: for `explain` and for the report."""

from __future__ import annotations

from cli.show.render import clean, plural
from coordinator.api.responses.estate import Cell
from coordinator.api.responses.proof import Evidence, Limits

SENT_MSS = (1460, 1440)  # IPv4, IPv6
_FIELDS = {"sequence": "sequence number", "timestamp": "timestamp"}
_INSIDE = {"open": "an answer", "closed": "'closed'", "filtered": "silence", "open|filtered": "silence"}
_CANARY = {
    "clear": "canary: closed or silent before and after",
    "open": "canary: open too, so that everything there seems open",
    "unknown": "canary: unknown",
}


def target(cell: Cell) -> str:
    """`10.30.0.21:5000`, by the first port of a range; the address alone for ICMP."""
    port = f":{cell.ports.partition('-')[0].partition(',')[0]}" if cell.ports else ""
    return f"[{cell.address}]{port}" if ":" in cell.address and port else f"{cell.address}{port}"


def sent(e: Evidence) -> str:
    """How many copies went out, and which way."""
    over = plural(e.flows, "flow") + (f" and {e.span_s:g} s" if e.span_s else "")
    copies = f"{plural(e.sent, 'copy', 'copies')} over {over}, {e.way or 'not sent'}"
    return copies + (f" via {e.via}" if e.via else "")


def heard(e: Evidence) -> str:
    """What is known of the answer: how long it took, how far it came, what it said."""
    facts = []
    if e.rtt_ms is not None:
        facts.append(f"{e.rtt_ms:.3f} ms")
    if e.hops is not None:
        facts.append(plural(e.hops, "hop"))
    if e.note:
        facts.append(f'said "{clean(e.note)}"' + (f", as {e.inside_by} heard inside" if e.inside_same else ""))
    return ", ".join(facts)


def controls(e: Evidence) -> str:
    """What an agent inside got, the canary, and whether the source's packets got out at all."""
    inside = "inside: nobody asked"
    if e.inside:
        inside = f"inside: {e.inside_by or 'another agent'} got {_INSIDE.get(e.inside, repr(e.inside))} from it"
        inside += ", before the source's packets, and nothing is known of after them" if e.inside_once else ""
    if e.control:
        source = f"source: {e.control_by}" if e.control_by else "source: its packets got out"
    else:
        source = "source: no packet of it was shown to get out"
    return "; ".join(filter(None, [inside, _CANARY.get(e.canary, ""), source]))


def witness(name: str | None, cell: Cell, e: Evidence) -> str:
    """What the witness of a cell saw; why there was none."""
    if e.arrival == "no-witness":
        who = f"{name} could not tell" if name else f"none on {cell.address}"
        why = f": {e.no_witness_why}" if e.no_witness_why and name else ""
        return f"{who}{why}" + ("" if name else " (an agent there would show whether the packet arrives)")
    if e.arrival == "not-seen":
        return f"{name or 'the witness'} listened the whole time and saw none of the {e.sent} copies"
    answered = "answered" if e.answered else "did not answer"
    bound = "a socket is bound there" if e.bound else "no socket is bound there"
    came = f" from {e.came_from}" if e.came_from else ""
    copies = plural(e.arrived, "copy", "copies")
    on_the_way = "".join(f"; {text}" for text in _changes(e, cell.address))
    return f"{name or 'the witness'} saw {copies} arrive{came}; the host {answered}, {bound}{on_the_way}"


def _changes(e: Evidence, address: str) -> list[str]:
    """What somebody on the way did to the packets."""
    mss = SENT_MSS[":" in address]
    return [
        text
        for text, shown in (
            (f"the {_FIELDS.get(e.altered, '')} was rewritten on the way", e.altered),
            (f"the MSS arrived as {e.mss}, sent as {mss}", e.mss not in {0, mss}),
            (f"the DSCP arrived as {e.dscp}, sent as 0", e.dscp),
        )
        if shown
    ]


def limits(found: Limits) -> str:
    """Over what a green cell holds, and what it could have missed."""
    over = plural(found.flows, "flow") + (f" and {found.seconds:g} s" if found.seconds else "")
    loss = "" if found.loss is None else f", loss at most {found.loss * 100:.2g}%"
    return (
        f"over {over}{loss}: a leak for up to {found.share * 100:.0f}% of the flows, or one that was closed just then, "
        "could have been missed (1 chance in 20)"
    )
