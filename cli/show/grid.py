"""The matrix of environments as lines of text: one glyph and one figure per pair, and never a colour alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from cli.show.held import baselined, below
from cli.show.render import NO_PACKET, NO_SESSION, Paint, labelled, percent, plural, visible
from coordinator.api.responses.estate import Counts, Coverage, Finding, Matrix, PairCoverage

Pair = tuple[str, str]
LEGEND = (
    (NO_PACKET, "good", "no packet"),
    (NO_SESSION, "good", "no session"),
    ("✗", "bad", "fails"),
    ("~", "warn", "waived"),
    ("?", "warn", "unproven"),
)


def by_pair(coverage: Coverage) -> dict[Pair, PairCoverage]:
    """The coverage body's entries by (source, destination)."""
    return {(pair.source, pair.destination): pair for pair in coverage.pairs}


def live(findings: Iterable[Finding], pair: Pair | None = None) -> list[Finding]:
    """Findings that stand, of one pair or of all."""
    return [
        finding
        for finding in findings
        if finding.result == "fail" and pair in {None, (finding.source.environment, finding.destination.environment)}
    ]


def pair_cell(results: Counts, entry: PairCoverage | None, failing: Sequence[Finding]) -> list[tuple[str, str]]:
    """What stands in the matrix for a pair: (text, style) parts. No part is told apart by its colour alone."""
    if entry is None or not entry.cells:
        return [("no cells", "dim")]
    parts: list[tuple[str, str]] = []
    if results.fail:
        text = plural(len(failing), "path") if failing else plural(results.fail, "cell")
        missing = failing and all(finding.kind == "missing-path" for finding in failing)
        parts.append((f"✗ {text}{' missing' if missing else ''}", "bad"))
    elif entry.declared_paths:
        parts.append((f"✓ {entry.declared_paths} declared", "good"))
    if results.waived:
        parts.append((f"~ {results.waived} waived", "warn"))
    if known := baselined(results):
        parts.append((f"~ {known} known", "warn"))
    if low := below(results):
        parts.append((f"~ {low} below", "warn"))
    untested = entry.not_run == entry.required
    if entry.coverage < 1.0:
        stale = entry.stale == entry.required
        parts.append(("? not run" if untested else "? stale" if stale else f"? {percent(entry.coverage)}", "warn"))
    elif not results.fail:
        parts.append((f"{NO_SESSION if entry.no_session else NO_PACKET} {percent(entry.coverage)}", "good"))
    return parts


def grid(matrix: Matrix, coverage: Coverage, findings: Sequence[Finding], paint: Paint) -> list[str]:
    """Environments against environments; where they are too many for the width, one line per pair."""
    names, entries = matrix.environments, by_pair(coverage)
    cells = {
        (pair.source, pair.destination): pair_cell(
            pair.results,
            entries.get((pair.source, pair.destination)),
            live(findings, (pair.source, pair.destination)),
        )
        for pair in matrix.pairs
    }
    plain = {pair: ", ".join(text for text, _ in parts) for pair, parts in cells.items()}
    styled = {pair: ", ".join(paint(text, style) for text, style in parts) for pair, parts in cells.items()}
    left = max((len(name) for name in names), default=0) + 6
    widths = [max([len(name), *(len(plain[(a, name)]) for a in names if a != name)]) + 3 for name in names]
    if left + sum(widths) - 3 > paint.width:
        return _pairs(styled)
    header = f"{'to':>{left - 2}}  " + "".join(name.ljust(width) for name, width in zip(names, widths, strict=True))
    lines = [paint(header.rstrip(), "dim")]
    for index, source in enumerate(names):
        lead = ("from " if index == 0 else "     ") + source
        row = [paint(lead[:5], "dim") + lead[5:].ljust(left - 5)]
        for name, width in zip(names, widths, strict=True):
            text = paint("·", "dim") if name == source else styled[(source, name)]
            row.append(text + " " * (width - visible(text)))
        lines.append("".join(row).rstrip())
    return lines


def _pairs(styled: Mapping[Pair, str]) -> list[str]:
    width = max(len(f"{a} → {b}") for a, b in styled)
    return [f"{f'{a} → {b}':<{width}}  {text}" for (a, b), text in styled.items()]


def legend(paint: Paint) -> str:
    """What the glyphs mean."""
    return "  ".join(f"{paint(glyph, style)} {paint(text, 'dim')}" for glyph, style, text in LEGEND)


def where(finding: Finding) -> str:
    """`dev → prod.model-registry`, or the addresses where it belongs to no service."""
    destination = finding.destination
    services = (destination.service or "").split(",") if destination.service else []
    if len(services) == 1:
        return f"{finding.source.environment} → {destination.environment}.{services[0]}"
    addresses = destination.addresses
    named = addresses[0] if len(addresses) == 1 else plural(len(addresses), "address", "addresses")
    return f"{finding.source.environment} → {destination.environment} {named}"


def headline(finding: Finding) -> str:
    """A finding as a sentence: `dev can reach prod's model registry`."""
    source, destination = finding.source.environment, finding.destination
    services = (destination.service or "").replace("-", " ").split(",")
    addresses = destination.addresses
    if len(services) == 1 and services[0]:
        what = services[0]
    else:
        what = addresses[0] if len(addresses) == 1 else plural(len(addresses), "address", "addresses")
    if finding.result == "pass":
        return f"{source} → {destination.environment}'s {what}: as declared again"
    if finding.kind == "missing-path":
        return f"{source} cannot reach {destination.environment}'s {what}"
    verb = "gets packets to" if finding.reachability == "one-way" else "can reach"
    return f"{source} {verb} {destination.environment}'s {what}"


def standing(finding: Finding) -> str:
    """Its status, and whether it comes and goes: `open, flapping`."""
    return f"{finding.status}, flapping" if finding.flapping else finding.status


def standing_counted(finding: Finding) -> str:
    """The same with figures: `open, flapping (failed in 4 of its last 8 rounds)`."""
    recent = finding.recent
    counts = f" (failed in {recent.failing} of its last {recent.rounds} rounds)" if finding.flapping else ""
    return standing(finding) + counts


def harm(finding: Finding) -> str:
    """Why it matters, in one sentence; "" where the declaration says nothing of it."""
    source, destination = finding.source.environment, finding.destination.environment
    words = {
        "model tampering": f"whoever is in {source} can replace a model in {destination}: model tampering",
        "data leakage": f"data of {destination} or {source} can leave for the other: data leakage",
        "operational disruption": f"what runs {destination} can be stopped from {source}: operational disruption",
    }
    if finding.kind == "missing-path":
        return f"what {source} needs of {destination} does not work: operational disruption"
    return "; ".join(words.get(word, word) for word in finding.impact)


def counted(coverage: Coverage, environments: int) -> str:
    """`4 environments, 1,284 cells, 99.8% proven (93% no packet, 7% no session)`."""
    greens = coverage.no_packet + coverage.no_session
    grades = ""
    if greens:
        share = coverage.no_packet / greens
        whole = math.floor(share * 1000) / 10
        grades = f" ({whole:g}% no packet, {100 - whole:.3g}% no session)"
    cells = plural(coverage.cells, "cell")
    return f"{plural(environments, 'environment')}, {cells}, {percent(coverage.coverage)} proven{grades}"


def sentence(paint: Paint, word: str, style: str, text: str) -> list[str]:
    """The first line of an answer: one word, then what it comes to."""
    lines = labelled(word, text, paint.width, indent=len(word) + 2)
    return [paint(word, style) + lines[0][len(word) :], *lines[1:]]
