"""What a try has found, on a terminal and as JSON: a sentence, a line per verdict with its proof, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cli.show.render import GLYPHS, NO_PACKET, NO_SESSION, Paint, clean, labelled, plural, short_ports
from cli.trial.child import Outcome
from reachability.advice import ADVICE, ROWS, Advice
from reachability.arrival import ArrivalRow
from reachability.compare import Grade, grade_of, result_of
from reachability.ports import text_of
from reachability.verdict import Evidence, Verdict, judge
from reachability.vocabulary import Arrival, ControlKind, Declared, Protocol, Require, Result, State
from wire.trial import DESTINATION, TrialCell

Body = dict[str, Any]
_CODES = {"fail": 1, "inconclusive": 3, "pass": 0}
_WORDS = {"fail": "crossed", "inconclusive": "unproven", "pass": "shown to be closed"}
_CARRY = "carry the source's line to the destination, and its answer back: only both reports together tell more"
BOUND_AND_SILENT = 14
_AT_HOST = "if the host's own firewall stops it there, only a host inside that the service answers can show it: that takes agents"
# Where a try has its own way to settle something.
_ADVICE: Mapping[str, Advice] = {
    "no-source-control": Advice(
        "not one packet of the source was shown to get out",
        "let it reach the meeting port (TCP, UDP), or start it with --control HOST:PORT: something beyond its gateway "
        "that answers, such as a resolver at port 53 (asked over TCP and UDP, and by an echo)",
    ),
    "controls-stopped": Advice(
        "arrivals or answers stopped part-way: a ban, or a full connection table", "wait until the ban is over"
    ),
    "loss": Advice("too many packets were lost for silence to mean a firewall", "fix the loss, or try again"),
    "undecided": Advice(
        "packets without our mark came to that port: rewritten by a firewall, or somebody else's",
        "let the reports meet by themselves: a further round can then tell them apart",
    ),
    "no-permission": Advice(
        "a side may not open a packet socket",
        "run both sides as root, or with CAP_NET_RAW: without it nothing is proven closed",
    ),
}


def summary(outcome: Outcome) -> Body:
    """What `-o json` prints; the text is made of it too."""
    cells = [_cell(cell, complete=outcome.complete) for cell in outcome.cells]
    counts = Counter(cell["result"] for cell in cells)
    arrivals = [] if outcome.complete or outcome.witness is None else [_arrival(r) for r in outcome.witness.arrivals]
    if counts["fail"] or any(row["answered"] for row in arrivals):
        result = "fail"
    else:
        result = "pass" if counts["pass"] and not counts["inconclusive"] else "inconclusive"
    return {
        "result": result,
        "complete": outcome.complete,
        "listened_s": outcome.listened_s or None,
        "lacks": outcome.lacks or None,
        "problems": list(outcome.problems),
        "cells": cells,
        "arrivals": arrivals,
    }


def exit_code(body: Body) -> int:
    """0: all shown to be closed; 1: something crossed; 3: something is unproven."""
    return _CODES[body["result"]]


def report(body: Body, style: Paint) -> list[str]:
    """All of it, as text."""
    lines = [_sentence(body, style), ""]
    for result in _CODES:
        for cell in body["cells"]:
            lines += _verdict(cell, style) if cell["result"] == result else []
    lines += [_arrived(row, style) for row in body["arrivals"]]
    if body["lacks"]:
        lines += ["", *labelled("lacks", f"{body['lacks']}: this side proves nothing closed", style.width)]
    for problem in body["problems"]:
        lines += labelled("problem", clean(problem), style.width)
    settle = dict.fromkeys(cell["settle"] for cell in body["cells"] if cell["settle"])
    if not body["complete"] and not body["cells"]:
        settle[_CARRY] = None
    for index, text in enumerate(settle):
        between = [""] if index == 0 and lines[-1] else []
        lines += [*between, *labelled("" if index else "settle", text, style.width)]
    return lines


def _sentence(body: Body, style: Paint) -> str:
    glyph, tone = GLYPHS[body["result"]]
    counts = Counter[str]()
    for cell in body["cells"]:
        counts[cell["result"]] += cell["count"]
    parts = [f"{count} {_WORDS[word]}" for word in _CODES if (count := counts[word])]
    whose = "" if body["complete"] else "; of one side alone: the other's report is not here"
    if not parts:
        parts = ["nothing is proven" if not body["arrivals"] else "something arrived"]
    total = sum(counts.values())
    sources, addresses = ({cell[name] for cell in body["cells"]} - {None} for name in ("source_address", "address"))
    where = f", {min(sources)} → {min(addresses)}" if len(sources) == len(addresses) == 1 else ""
    head = f"{plural(total, 'port')}{where}: " if total else ""
    return f"{style(glyph, tone)} {head}{', '.join(parts)}{whose}"


def _verdict(cell: Body, style: Paint) -> list[str]:
    glyph, tone = GLYPHS[cell["result"]]
    if cell["grade"]:
        glyph = NO_PACKET if cell["grade"] == Grade.NO_PACKET else NO_SESSION
    where = f"{cell['address']} {short_ports(cell['ports'], cell['protocol'])}"
    proof = f"proof: {cell['proof']}" if cell["proof"] != "none" else cell["reason"]
    head = f"{style(glyph, tone)} {style(where, 'bold')}  {cell['reachability']}, {proof} (table row {cell['row']})"
    lines = labelled("", cell["means"] or cell["said"], style.width, 4)
    facts = labelled("", "; ".join(cell["facts"]), style.width, 4)
    return [head, *lines, *(style(line, "dim") for line in facts)]


def _arrived(row: Body, style: Paint) -> str:
    glyph, tone = GLYPHS["fail" if row["answered"] else "inconclusive"]
    where = f"{row['address']} {short_ports(row['ports'], row['protocol'])}"
    did = "the host answered: it is not closed" if row["answered"] else "the host did not answer"
    came = f"{plural(row['copies'], 'copy', 'copies')} came from {row['came_from']}"
    return f"{style(glyph, tone)} {style(where, 'bold')}  {came}; {did}"


def _cell(cell: TrialCell, *, complete: bool) -> Body:
    e = cell.evidence
    verdict = judge(e)
    result = result_of(Declared.DENIED, Require.NO_SESSION, e, verdict)
    advice = _advice(verdict, result, complete=complete)
    return {
        "source_address": cell.source_address or None,
        "address": cell.address,
        "protocol": cell.protocol.value,
        "ports": text_of(cell.ports),
        "count": len(cell.ports),
        "state": e.state.value,
        "reason": verdict.reason,
        "reachability": verdict.reachability.value,
        "proof": verdict.proof.value,
        "row": verdict.row,
        "result": result.value,
        "grade": grade_of(Declared.DENIED, result, verdict.reachability),
        "said": _row(verdict, e),
        "facts": _facts(e, cell.source_address, complete=complete),
        "means": advice.means if advice else None,
        "settle": advice.settle if advice else None,
        "evidence": asdict(e),
    }


def _row(verdict: Verdict, e: Evidence) -> str:
    said = ROWS[verdict.row].replace("the agent's", "the source's")
    if e.protocol is Protocol.UDP:
        said = said.replace("a RST", "the host's port-unreach")
    return f"{said}; {_AT_HOST}" if verdict.row == BOUND_AND_SILENT and e.bound else said


def _advice(verdict: Verdict, result: Result, *, complete: bool) -> Advice | None:
    if result is not Result.INCONCLUSIVE:
        return None
    found = _ADVICE.get(verdict.reason) or ADVICE.get(verdict.reason) or Advice("nothing was proven", "try again")
    if complete:
        return found
    return Advice(f"{found.means}; the destination's report is not here", _CARRY)


def _facts(e: Evidence, source: str, *, complete: bool) -> list[str]:
    """What was sent, what came back, what the witness saw, what shows that the packets got out."""
    flows = f" over {plural(e.flows, 'flow')}" if e.flows else ""
    sent = (
        f"{plural(e.sent, 'copy', 'copies')} sent from {source} via {e.via}{flows}"
        if e.sent
        else f"tried from {source}"
    )
    facts = [sent, _came_back(e), _witness(e, complete=complete)]
    if e.control_by and e.arrival is not Arrival.SEEN:
        by = e.control_by.removeprefix(f"{ControlKind.OUTSIDE} ").replace(
            f"{ControlKind.MEETING} ", "the meeting port of "
        )
        facts.append(f"control: {by}")
    if e.loss is not None:
        facts.append(f"loss at most {e.loss * 100:.2g}%")
    return [clean(fact) for fact in facts]


def _came_back(e: Evidence) -> str:
    if e.state is State.ERROR:
        return f"error: {e.reason.value}"
    if e.reason.value == "no-response":
        return "nothing came back"
    by = f" from {e.refused_by}" if e.refused_by else ""
    after = f" after {e.rtt_ms:.3g} ms" if e.rtt_ms is not None else ""
    return f"{e.reason.value} came back{by}{after}"


def _witness(e: Evidence, *, complete: bool) -> str:
    if not complete:
        return "what arrived is not known here"
    match e.arrival:
        case Arrival.NOT_SEEN:
            return f"the {DESTINATION} listened to the end and saw none"
        case Arrival.NO_WITNESS:
            why = e.no_witness_why.replace("this agent", "it")
            return f"the {DESTINATION} cannot tell what arrived" + (f": {why}" if why not in {"", e.problem} else "")
        case Arrival.SEEN:
            came = f" from {e.came_from}" if e.came_from else ""
            answered = e.answered or e.state is State.OPEN
            did = "answered" if answered else "refused it" if e.state is State.CLOSED else "did not answer"
            bound = "" if e.protocol is Protocol.ICMP else f", {'a' if e.bound else 'no'} socket is bound"
            return f"{e.arrived} arrived{came}, the host {did}{bound}"


def _arrival(row: ArrivalRow) -> Body:
    return {
        "address": row.address,
        "protocol": row.protocol.value,
        "ports": text_of(row.ports),
        "copies": row.copies,
        "came_from": row.came_from,
        "answered": row.answered,
    }


def listening(asked: Sequence[str], problems: Sequence[str], meet: int, style: Paint) -> list[str]:
    """What the destination says once it is armed."""
    lines = labelled("listening", ", ".join(asked), style.width)
    for problem in problems:
        bare = "CAP_NET_RAW" in problem
        remedy = "run it as root" if bare else "--control HOST:PORT names something that answers, where no gateway does"
        lines += labelled("lacks", f"{clean(problem)}: so far nothing can be proven closed; {remedy}", style.width)
    meeting = (
        f"port {meet} (tcp and udp): if the source reaches it, both sides show the verdict by themselves; if not, each prints"
        " a line to paste at the other"
    )
    source = (
        "run the line below there, as root. If everything may be closed, add --control HOST:PORT, something beyond its "
        "gateway that answers (its resolver at port 53): it shows that the source's packets do get out"
    )
    return [*lines, *labelled("meeting", meeting, style.width), *labelled("source", source, style.width)]
