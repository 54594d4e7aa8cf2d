"""A verify run on a terminal: one sentence, then a line for each thing to look at and how to go on."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cli.holding import lines as held_lines
from cli.show.grid import live, sentence, where
from cli.show.losses import lost_line
from cli.show.render import Paint, clean, labelled, percent, plural, short_ports, table, visible
from cli.show.roster import notes
from cli.show.summary import headwords
from cli.show.supposed import lines as supposed
from cli.show.supposed import unobserved
from coordinator.api.responses.estate import Finding
from coordinator.api.responses.runs import FinishedRun, Unproven, Verified
from coordinator.api.responses.status import Agent

_UNPROVEN_LINES = 12
_TONES = {"PASS": "good", "FAIL": "bad"}


def report(run: FinishedRun, style: Paint) -> list[str]:
    """What a run comes to: one sentence, then a line for each thing to look at and how to go on."""
    result, coverage = run.result, run.coverage
    failing = live(result.findings)
    word, said = headwords(run)
    lines = sentence(style, word, _TONES.get(word, "warn"), said)
    if run.stopped:
        why = f"all probing was stopped meanwhile: {clean(run.stopped)}"
        lines.append(f"{style('!', 'warn')} {why}. To go on: segwatch resume")
    if result.what_if:
        lines += supposed(result.what_if, style)
    lines += _missing_agents(result.agents, style)
    lines += _lost_meanwhile(result, style)
    lines += [
        f"{style('?', 'warn')} {pair.source} → {pair.destination}: nothing can be tested: none of its hosts has an address "
        "of a family that the agents have"
        for pair in result.untested
    ]
    lines += table([_finding_row(finding, style) for finding in failing])
    lines += held_lines(result, style)
    for one in run.uncontrolled:
        names = " and ".join(protocol.upper() for protocol in one.protocols)
        said = (
            f"{one.environment}: nothing showed that its {names} packets get out: {plural(one.cells, 'cell')} unproven"
        )
        text = f"{said}, {percent(one.share)} of the coverage; {one.settle}"
        lines += labelled(style("!", "warn"), text, style.width, 2)
    required = [entry for entry in run.unproven if entry.required]
    if result.what_if:  # a run would settle most of it, and the line above says so once
        lines += unobserved(required, style)
        required = [entry for entry in required if entry.result != "not-run"]
    lines += unproven_lines(required[:_UNPROVEN_LINES], style)
    if len(required) > _UNPROVEN_LINES:
        lines.append(f"? and {len(required) - _UNPROVEN_LINES} more: segwatch verify -o json --cells")
    if result.summary.waived:
        lines.append(
            f"{style('~', 'warn')} {plural(result.summary.waived, 'cell')} waived, each until its waiver expires"
        )
    if coverage.beyond_proof:
        text = f"{plural(coverage.beyond_proof, 'UDP cell')} beyond proof: silent, on hosts without an agent"
        lines.append(style(f"  {text} (no exit code)", "dim"))
    return lines


def _missing_agents(agents: Sequence[Agent], style: Paint) -> list[str]:
    return [
        f"{style('!', 'warn')} agent {agent.name} ({agent.environment}) "
        + ("is not connected" if agent.state == "lost" else "never connected")
        + ": what only it can show is unproven"
        for agent in agents
        if agent.state != "connected"
    ] + [
        f"{style('!', 'warn')} agent {agent.name} ({agent.environment}) {note}"
        for agent in agents
        for note in notes(msgspec.structs.replace(agent, lacks=None))  # what it lacks shows in the cells
    ]


def _lost_meanwhile(result: Verified, style: Paint) -> list[str]:
    """What was lost during this run; what was lost before is in the JSON, and in `segwatch coverage`."""
    lost = [(agent.name, agent.lost) for agent in result.agents]
    return [
        f"{style('!', 'warn')} agent {lost_line(name, entry)}"
        for name, entry in lost
        if entry.until and entry.until >= (result.started or "")
    ]


def _finding_row(finding: Finding, style: Paint) -> list[str]:
    said = f"{finding.reachability} ({finding.proof})"
    what = f"{where(finding)} {short_ports(finding.ports, finding.protocol)}"
    return [f"{style('✗', 'bad')} {what}", said, style(finding.id, "bold"), f"segwatch explain {finding.id}"]


def unproven_lines(entries: Sequence[Unproven], style: Paint) -> list[str]:
    """What is not proven, why, and what would settle it: on the same line where that fits, else under it."""
    lines = table([_unproven_row(entry, style) for entry in entries])
    result = []
    for line, entry in zip(lines, entries, strict=True):
        fits = visible(line) + 2 + len(entry.settle) <= style.width
        result += [f"{line}  {entry.settle}"] if fits else [line, *labelled("", entry.settle, style.width, 4)]
    return result


def _unproven_row(entry: Unproven, style: Paint) -> list[str]:
    what = f"{entry.source} → {entry.destination} {entry.address} "
    said = f"unknown: {entry.reason}" if entry.reason else entry.result
    ports = short_ports(entry.ports, entry.protocol, 20)
    return [f"{style('?', 'warn')} {what}{ports}", said]
