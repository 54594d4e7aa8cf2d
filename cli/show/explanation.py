"""What `explain` says of a cell, as lines: declared, sent, seen, controlled, and what would settle it."""

from __future__ import annotations

from cli.show.evidence import controls, heard, limits, sent, target, witness
from cli.show.exchange import timeline
from cli.show.grid import standing_counted, where
from cli.show.names import seen
from cli.show.render import NO_PACKET, NO_SESSION, Paint, clock, glyph_of, labelled, plural, short_ports, visible
from cli.show.trace import ANSWERS, traces
from coordinator.api.responses.estate import Cell
from coordinator.api.responses.proof import Evidence, Explanation, Happened, RoundOf

_PROBE = {"tcp": "SYN", "udp": "datagram", "icmp": "echo"}


def explanation(body: Explanation, style: Paint) -> list[str]:
    """The whole story of a cell, from what was declared to what would settle it."""
    lines = [*_head(body, style), "", *_declared(body, style)]
    for index, text in enumerate(line for name in body.names for line in seen(name)):
        lines += labelled("names" if index == 0 else "", text, style.width)
    if body.cell is not None and body.evidence is not None and body.round is not None:
        lines += _round(body.round, body.evidence, style)
        lines += _exchange(body.cell, body.evidence, style)
        if body.exchange:
            lines += timeline(body.exchange, style)
        lines += labelled("control", controls(body.evidence), style.width)
        lines += labelled("witness", witness(body.witness, body.cell, body.evidence), style.width)
    if body.trace:
        lines += traces(body.trace, style)
    if body.row is not None:
        row = f"{body.row.text} (table row {body.row.number})"
        lines += labelled("so", row, style.width)
    if body.limits is not None:
        lines += labelled("limits", limits(body.limits), style.width)
    if body.means:
        lines += labelled("meaning", body.means, style.width)
    for index, text in enumerate(body.settle):
        label = ("next" if body.result == "fail" else "settle") if index == 0 else ""
        lines += labelled(label, text, style.width)
    if body.history:
        story = [f"{clock(event.at)} {event.what}{_by(event)}" for event in body.history]
        lines += labelled("history", " · ".join(story), style.width)
    return [_emphasise(line, style) for line in lines]


def _by(event: Happened) -> str:
    return f" by {event.by} ({event.text})" if event.by else ""


_LABELS = (
    "declared",
    "names",
    "round",
    "packets",
    "control",
    "witness",
    "trace",
    "so",
    "limits",
    "meaning",
    "next",
    "settle",
    "history",
)


def _emphasise(line: str, style: Paint) -> str:
    label = line.split(" ", 1)[0]
    return style(label, "bold") + line[len(label) :] if label in _LABELS else line


def _head(body: Explanation, style: Paint) -> list[str]:
    cell, finding = body.cell, body.finding
    glyph, tone = glyph_of(body.result or (finding.result if finding else "not-run"))
    if body.grade:
        glyph = NO_PACKET if body.grade == "no packet" else NO_SESSION
    parts = []
    if finding is not None:
        parts.append(f"{finding.id}")
        parts.append(f"{where(finding)} {short_ports(finding.ports, finding.protocol)}")
    elif cell is not None:
        to = f"{cell.destination}.{cell.service}" if cell.service else cell.destination
        ports = short_ports(cell.ports, cell.protocol)
        parts.append(f"{cell.source} ({cell.agent}) → {to} {cell.address} {ports}")
    if cell is not None and cell.reachability is not None:
        proof = f"proof: {cell.proof}" if cell.proof != "none" else cell.reason
        parts.append(f"{cell.reachability}, {proof} (table row {cell.row})")
    if body.result is not None:
        grade = f", {body.grade}" if body.grade else ""
        parts.append(f"{body.result}{grade}")
    if finding is not None:
        parts.append(
            f"{standing_counted(finding)} since {clock(body.first_seen or None)} ({plural(body.rounds or 0, 'round')})"
        )
    wrapped = labelled(glyph, " · ".join(parts), style.width, indent=2)
    return [style(glyph, tone) + wrapped[0][1:], *wrapped[1:]]


def _declared(body: Explanation, style: Paint) -> list[str]:
    declared = body.declared
    at = declared.at or ""
    lines = labelled("declared", declared.text, style.width)
    room = style.width - visible(lines[-1]) - len(at)
    lines = [*lines[:-1], lines[-1] + " " * room + at] if room > 1 else [*lines, f"{at:>{style.width}}"]
    near = declared.nearest
    if near:
        text = f"nearest: line {near.line} '{near.path}' (from {near.source} to {near.destination})"
        lines += labelled("", text, style.width)
    waiver = declared.waiver
    if waiver:
        lines += labelled("", f"waived by {waiver.id}, line {waiver.line}, until {waiver.expires}", style.width)
    return lines


def _round(about: RoundOf, e: Evidence, style: Paint) -> list[str]:
    run = f" of {about.run}" if about.run else ""
    text = f"{about.id}{run}, {about.schedule}, {clock(about.observed_at)} UTC"
    if e.loss is not None:
        text += f", loss at most {e.loss * 100:.2g}%"
    return labelled("round", text, style.width)


def _exchange(cell: Cell, e: Evidence, style: Paint) -> list[str]:
    """The packets as a drawing: what went out, what came back."""
    left = f"   {cell.agent} {cell.source_address} "
    to = target(cell)
    out = f"{left}──{_PROBE.get(e.protocol, e.protocol)}──▶ {to}"
    indent = " " * len(left)
    answer = ANSWERS.get(e.reason)
    if e.state == "error":
        back = f"{indent}✗ {e.reason}"
    elif answer is None:
        back = f"{indent}   silence"
    else:
        back = f"{indent}◀──{answer}── {e.refused_by or to}"
    column = max(len(out), len(back)) + 3
    lines = [f"{out:<{column}}{sent(e)}", f"{back:<{column}}{heard(e)}".rstrip()]
    return [part for line in lines for part in _fold(line, column, style.width)]


def _fold(line: str, column: int, width: int) -> list[str]:
    """A line whose second column goes on under itself where it is too long."""
    if len(line) <= width:
        return [line]
    if column > width - 20:
        return [line[:column].rstrip(), *labelled("", line[column:], width, 6)]
    wrapped = labelled("", line[column:], width, column)
    return [line[:column] + wrapped[0][column:], *wrapped[1:]]
