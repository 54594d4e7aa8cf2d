"""A verify run as Markdown that fits a pull request: one line, one table, the failing paths with what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cli.holding import of_finding
from cli.show.grid import by_pair, harm, headline, live, pair_cell
from cli.show.held import added, known
from cli.show.render import plural, short_ports
from cli.show.summary import headwords
from coordinator.api.responses.estate import Counts, Finding
from coordinator.api.responses.runs import Decision, FinishedRun, Unproven

MOST = 20  # findings, and as many lines of what is unproven: forges cut long comments off
WIDEST = 8  # environments in a matrix; more become a list of pairs
_GLYPH = {"pass": "✓", "fail": "✗", "inconclusive": "?"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~!{}])")


def markdown(run: FinishedRun, topology: str) -> str:
    """The text; `topology` is what the reader's checkout calls the topology."""
    result = run.result
    word, said = headwords(run)
    if run.stopped:
        said += f" · all probing was stopped meanwhile: {escaped(run.stopped)}"
    lines = [f"{_GLYPH.get(result.result, '?')} **segwatch {word}** · {said}", "", *_table(run), ""]
    failing = live(result.findings)
    if failing:
        lines += ["**Fails**", ""]
        for finding in failing[:MOST]:
            lines += _finding(finding, run.decided.get(finding.id), topology)
        lines += [*_more(len(failing)), ""]
    lines += _let_be(result.findings, "baselined", "**Known**, and fails nothing until it ends")
    lines += _let_be(result.findings, "below", "**Below the threshold**, and fails nothing")
    unproven = [entry for entry in run.unproven if entry.required]
    if unproven:
        lines += ["**Not proven**, which is not green", ""]
        lines += [_unproven(entry) for entry in unproven[:MOST]]
        lines += [*_more(len(unproven)), ""]
    return "\n".join(lines).rstrip() + "\n"


def escaped(text: str) -> str:
    """A text from elsewhere as nothing but text: no mark-up, no line ends, no mention of anybody."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _SPECIAL.sub(r"\\\1", flat).replace("@", "&#64;")


def _table(run: FinishedRun) -> list[str]:
    entries = by_pair(run.coverage)
    results: dict[tuple[str, str], Counts] = {}
    for check in run.checks:
        pair = (check.source, check.destination)
        results[pair] = added(results[pair], check.results) if pair in results else check.results
    findings = run.result.findings
    cells = {
        pair: ", ".join(text for text, _ in pair_cell(results[pair], entries.get(pair), live(findings, pair)))
        for pair in results
    }
    names = [name for name in run.environments if any(name in pair for pair in cells)]
    if len(names) > WIDEST:
        return _pairs(cells)
    rows = [
        [f"**from {source}**", *("·" if source == name else cells.get((source, name), "") for name in names)]
        for source in names
        if any(pair[0] == source for pair in cells)
    ]
    return _rows(["", *(f"to {name}" for name in names)], rows)


def _pairs(cells: Mapping[tuple[str, str], str]) -> list[str]:
    """Where a matrix would be too wide: the pairs that are not all green, and how many are."""
    rows = [
        [f"{source} → {destination}", text]
        for (source, destination), text in cells.items()
        if any(glyph in text for glyph in "✗~?")
    ]
    green = len(cells) - len(rows)
    rest = [[plural(green, "other pair"), "all as declared"]] if green else []
    return _rows(["pair", "result"], [*rows, *rest])


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _finding(finding: Finding, decided: Decision | None, topology: str) -> list[str]:
    said = f"{finding.reachability} ({finding.proof}), {finding.severity}"
    tags = ", ".join(finding.cwe)
    what = f"{', '.join(finding.destination.addresses[:3])} {short_ports(finding.ports, finding.protocol)}"
    lines = [
        f"- ✗ **{escaped(headline(finding))}**: {finding.source.agent} → {escaped(what)} · {said}"
        + (f" · {tags}" if tags else "")
        + f" · `{finding.id}`"
    ]
    if harm(finding):
        lines.append(f"  - why: {escaped(harm(finding))}")
    if decided is not None:
        first, last = decided.lines or (1, 1)
        place = f"{topology}:{first}" + (f"-{last}" if last > first else "")
        near = decided.nearest
        nearest = f"; nearest: path {near.path}, line {near.line}" if near else ""
        lines.append(f"  - declared: {escaped(decided.text + nearest)} (`{place}`)")
        lines.append(f"  - to do: {escaped(', '.join(decided.next))}")
    if (held := known(finding)) and held.state != "new":
        lines.append(f"  - baseline: {escaped(of_finding(finding))}")
    lines.append(f"  - more: `segwatch explain {finding.id}`")
    return lines


def _let_be(findings: Sequence[Finding], result: str, title: str) -> list[str]:
    found = [finding for finding in findings if finding.result == result]
    if not found:
        return []
    return [title, "", *(f"- {escaped(of_finding(one))}" for one in found[:MOST]), *_more(len(found)), ""]


def _unproven(entry: Unproven) -> str:
    what = f"{entry.source} → {entry.destination} {entry.address} {short_ports(entry.ports, entry.protocol)}"
    said = f"unknown: {entry.reason}" if entry.reason else entry.result
    return f"- ? {escaped(what)} · {escaped(said)} · {escaped(entry.settle)}"


def _more(count: int) -> list[str]:
    return [f"- and {count - MOST} more"] if count > MOST else []
