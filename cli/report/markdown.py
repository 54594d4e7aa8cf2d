"""The report as Markdown (CommonMark with GFM's tables), for a wiki or a ticket."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cli.report import words
from cli.show.grid import by_pair, live, pair_cell
from cli.show.render import clean, glyph_of, percent, plural
from coordinator.api.responses.report import DeclaredPath, DeclaredWaiver, Period, Report, ReportedFinding, RowProof

MOST_COLUMNS = 12  # environments: with more, the table of pairs is what fits
_ESCAPED = {ord(char): f"\\{char}" for char in "\\`*_[]|~"} | {ord("<"): "&lt;", ord(">"): "&gt;", ord("&"): "&amp;"}


def markdown(body: Report) -> str:
    """The file's text."""
    word, said = words.verdict(body)
    sections = [
        f"# Reachability report: {word}",
        md(said),
        f"As of {words.stamp(body.made)} UTC, by segwatch {body.version}; declared in {code(body.topology.file)}"
        + (f", SHA-256 {code(body.topology.digest)}." if body.topology.digest else "."),
        words.GREEN,
        "## The matrix",
        *_matrix(body),
        "## Findings",
        f"{words.tally(body.findings)}.",
        *_findings(body.findings),
        *_period(body.period),
        "## What was tested",
        *_tested(body),
        "## How it was proven",
        *_proofs(body.proofs),
        *filter(None, [words.holds(body)]),
        "## Coverage",
        *_coverage(body),
        "## Waivers",
        *_waivers(body.waivers),
        "## What was not tested, or not proven, and why",
        *_unproven(body),
    ]
    if body.findings:
        sections += ["## Findings with their evidence", *(_evidence(body, entry) for entry in body.findings)]
    return "\n\n".join(sections) + "\n"


def md(text: str) -> str:
    """Anybody's text as plain text: no markup, no link, no end of a cell."""
    said = clean(text).replace("\n", " ").strip().translate(_ESCAPED)
    return f"\\{said}" if said.startswith(("#", "-", "+", "=")) else said


def code(text: str) -> str:
    """As a code span that nothing in it can end; fit for a table."""
    said = clean(text).replace("\n", " ").replace("`", "'").replace("|", "\\|").strip()
    return f"`{said}`" if said else ""


def _table(titles: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    drawn = [f"| {' | '.join(line)} |" for line in lines]
    return ["\n".join([f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}", *drawn])] if drawn else []


def _matrix(body: Report) -> list[str]:
    names = body.matrix.environments
    if len(names) > MOST_COLUMNS:
        return [f"{plural(len(names), 'environment')}: the table of pairs under “Coverage” has them all."]
    entries, failing = by_pair(body.coverage), [entry.finding for entry in body.findings]
    cells = {
        pair: ", ".join(text for text, _ in pair_cell(one.results, entries.get(pair), live(failing, pair)))
        for one in body.matrix.pairs
        for pair in [(one.source, one.destination)]
    }
    lines = [
        [f"**{md(source)}**", *(md(cells[(source, name)]) if name != source else "·" for name in names)]
        for source in names
    ]
    legend = "■ no packet arrives, □ no session can be made, ✓ declared paths, ✗ fails, \\~ waived, ? unproven."
    return [*_table(["from, to", *map(md, names)], lines), legend]


def _findings(findings: Sequence[ReportedFinding]) -> list[str]:
    lines = [
        [
            f"{md(glyph_of(finding.result)[0])} {finding.id}",
            finding.severity,
            md(words.title(finding)),
            code(words.short(finding)),
            words.status(finding),
            words.stamp(finding.first_seen),
        ]
        for entry in findings
        for finding in [entry.finding]
    ]
    return _table(["finding", "severity", "what", "where", "status", "since (UTC)"], lines)


def _period(period: Period | None) -> list[str]:
    if period is None:
        return []
    lines = [
        [
            words.stamp(event.at),
            event.what,
            md(event.finding or event.agent or "all probing"),
            md(": ".join(filter(None, [event.by, event.text]))),
        ]
        for event in period.events[: words.MOST_EVENTS]
    ]
    return [
        "## What happened in the period",
        words.happened(period),
        *_table(["when (UTC)", "what", "about", "what was said"], lines),
    ]


def _tested(body: Report) -> list[str]:
    environments = [
        [
            f"**{md(one.name)}**",
            one.sensitivity,
            one.require,
            code(", ".join(one.networks)),
            md(", ".join(agent.name for agent in one.agents) or "none: nothing was tested from here"),
            "<br>".join(f"{md(s.name)} {code(', '.join(s.hosts) + ' ' + s.ports)}" for s in one.services) or "none",
        ]
        for one in body.environments
    ]
    agents = [
        [
            md(one.name),
            md(one.environment),
            one.state,
            code(", ".join(one.addresses)),
            words.stamp(one.last_seen),
        ]
        for one in body.agents
    ]
    paths = [
        [
            md(path.name),
            *_ends(path),
            path.expect,
            f"{md(path.result)}, {plural(path.cells, 'cell')}" if path.result else "no cell of the plan",
            *_why(path),
        ]
        for path in body.paths
    ]
    return [
        *_table(["environment", "sensitivity", "requires", "networks", "agents", "services"], environments),
        "\n".join(f"- {md(line)}" for line in words.schedule(body.probing)),
        *_table(["agent", "environment", "state", "addresses", "last heard (UTC)"], agents),
        *_table(["declared path", "from", "to", "ports", "expected", "came out", "owner", "reason"], paths),
    ]


def _ends(entry: DeclaredPath | DeclaredWaiver) -> list[str]:
    return [
        code(entry.source),
        code(entry.destination),
        code(entry.ports) if entry.ports else "the service's own, or all",
    ]


def _why(entry: DeclaredPath | DeclaredWaiver) -> list[str]:
    return [md(entry.owner or "not said"), md(entry.justification or "not said")]


def _proofs(proofs: Sequence[RowProof]) -> list[str]:
    lines = [
        [
            str(proof.row),
            md(proof.text),
            proof.reachability + ("" if proof.proof == "none" else f", {proof.proof}"),
            f"{proof.cells:,}",
            *(f"{count:,}" for count in (r.passed, r.fail, r.waived, r.inconclusive, r.stale)),
        ]
        for proof in proofs
        for r in [proof.results]
    ]
    titles = ["row", "what was seen", "concluded", "cells", "pass", "fail", "waived", "unproven", "stale"]
    return _table(titles, lines) or ["Nothing was observed yet."]


def _coverage(body: Report) -> list[str]:
    whole, entries = body.coverage, by_pair(body.coverage)
    names = ("no_packet", "no_session", "inconclusive", "stale", "not_run", "beyond_proof")
    lines = []
    for pair in body.matrix.pairs:
        entry = entries.get((pair.source, pair.destination))
        figures = ["no cell", *[""] * (len(names) + 3)]
        if entry is not None:
            counts = [pair.results.fail, pair.results.waived, *(getattr(entry, name) for name in names)]
            figures = [
                percent(entry.coverage),
                f"{entry.proven:,}/{entry.required:,}",
                *(f"{count:,}" for count in counts),
            ]
        lines.append([md(f"{pair.source} → {pair.destination}"), *figures])
    titles = ["pair", "proven", "of required", "fail", "waived", *(name.replace("_", " ") for name in names)]
    said = f"{percent(whole.coverage)} of what must be proven is proven: {whole.proven:,} of {whole.required:,}."
    return [said, *_table(titles, lines)]


def _waivers(waivers: Sequence[DeclaredWaiver]) -> list[str]:
    lines = [
        [
            md(waiver.id),
            *_ends(waiver),
            *_why(waiver),
            words.stamp(waiver.expires) + ("" if waiver.in_force else " **expired**"),
            f"{plural(waiver.cells, 'cell')} {' '.join(waiver.findings)}".strip() if waiver.cells else "nothing",
        ]
        for waiver in waivers
    ]
    titles = ["waiver", "from", "to", "ports", "owner", "reason", "until (UTC)", "covers now"]
    return _table(titles, lines) or ["None are declared."]


def _unproven(body: Report) -> list[str]:
    lines = [
        [
            f"{one.cells:,}",
            one.result + ("" if one.required else ", need not be proven"),
            md(one.means),
            md(one.settle),
            "<br>".join(code(place) for place in one.places)
            + (f"<br>and {plural(one.more, 'more place')}" if one.more else ""),
        ]
        for one in words.why_unproven(body.unproven)
    ]
    rest = [
        *words.lost(body),
        *(f"{one.source} → {one.destination}: not a single cell" for one in body.untested),
        *(f"{one.environment}.{one.service} ({', '.join(one.hosts)}) is not swept" for one in body.coverage.not_swept),
        *(f"nothing was tested from {one.name}: it has no agent" for one in body.environments if not one.agents),
    ]
    listed = ["\n".join(f"- {md(line)}" for line in rest)] if rest else []
    found = [*_table(["cells", "result", "why", "what would settle it", "where"], lines), *listed]
    untried = [f"- {md(line)}" for line in words.not_tested(body)]
    return [*(found or ["Nothing that must be proven is unproven."]), *untried]


def _evidence(body: Report, entry: ReportedFinding) -> str:
    finding = entry.finding
    tags = " · ".join(filter(None, [finding.severity, ", ".join(finding.cwe), finding.status]))
    said = f" said {code(finding.identified)}" if finding.identified else ""
    lines = [f"- {label}: {md(text)}" for label, text in words.story(body, entry)]
    head = f"### {finding.id}: {md(words.title(finding))}\n\n{md(tags)}\n\n{code(words.place(finding))}{said}"
    return "\n".join([head, "", *lines])
