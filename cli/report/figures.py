"""The figures as geometry, in pixels: the template draws it. No part is told apart by its colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cli.show.grid import by_pair, live, pair_cell
from cli.show.render import NO_PACKET, NO_SESSION
from coordinator.api.responses.estate import Counts, Coverage, Finding, PairCoverage
from coordinator.api.responses.report import Report

MOST_WORDS, MOST_GLYPHS = 8, 60  # environments: more than these, and the squares hold a glyph alone; no matrix at all
_LETTER = 7.4  # px, of a name
_WIDE, _HIGH, _SMALL = 92, 50, 26
_WORST = {"✗": 0, "?": 1, "~": 2, NO_SESSION: 3, NO_PACKET: 4, "✓": 5}
LEAST = 3.0  # px: what is more than nothing can be seen


@dataclass(frozen=True, slots=True)
class Label:
    """A text at a place; `turned` ones go up to the right."""

    x: float
    y: float
    text: str
    turned: bool = False


@dataclass(frozen=True, slots=True)
class Square:
    """A pair of environments. `tone` is a class of the style sheet."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    title: str
    lines: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class Grid:
    """The matrix: rows are sources, columns destinations."""

    width: float
    height: float
    sources: tuple[Label, ...]
    destinations: tuple[Label, ...]
    squares: tuple[Square, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar; `x` and `width` are 0 in a legend."""

    tone: str
    label: str
    count: int
    x: float = 0.0
    width: float = 0.0


def grid(body: Report) -> Grid | None:
    """The matrix of environments; None where they are too many for one, or none."""
    names = body.matrix.environments
    if not names or len(names) > MOST_GLYPHS:
        return None
    words = len(names) <= MOST_WORDS
    longest = max(map(len, names)) * _LETTER
    wide, high = (max(_WIDE, longest + 12), _HIGH) if words else (_SMALL, _SMALL)
    left, top = longest + 16, 26.0 if words else longest * 0.8 + 12
    findings: dict[tuple[str, str], list[Finding]] = {}
    for finding in live(entry.finding for entry in body.findings):
        pair = (finding.source.environment, finding.destination.environment)
        findings.setdefault(pair, []).append(finding)
    results = {(pair.source, pair.destination): pair.results for pair in body.matrix.pairs}
    entries = by_pair(body.coverage)
    squares = []
    for row, source in enumerate(names):
        for column, destination in enumerate(names):
            pair, x, y = (source, destination), left + column * wide, top + row * high
            if source == destination:
                squares.append(Square(x, y, wide, high, "self", source))
                continue
            parts = pair_cell(results[pair], entries.get(pair), findings.get(pair, []))
            squares.append(_square(pair, parts, (x, y, wide, high), words=words))
    return Grid(
        width=left + wide * len(names) + (1 if words else longest * 0.6),
        height=top + high * len(names) + 1,
        sources=tuple(Label(left - 8, top + (row + 0.5) * high + 4, name) for row, name in enumerate(names)),
        destinations=tuple(
            Label(left + (column + 0.5) * wide, top - 8, name, turned=not words) for column, name in enumerate(names)
        ),
        squares=tuple(squares),
    )


def _square(
    pair: tuple[str, str], parts: Sequence[tuple[str, str]], where: tuple[float, float, float, float], *, words: bool
) -> Square:
    x, y, wide, high = where
    texts = [text for text, _ in parts]
    styles = {style for _, style in parts}
    tone = next((style for style in ("bad", "warn", "good") if style in styles), "none")
    if tone == "good" and any(text.startswith(NO_SESSION) for text in texts):
        tone = "fair"
    if not words:
        texts = [min((text[0] for text in texts), key=lambda glyph: _WORST.get(glyph, 9))] if tone != "none" else ["·"]
    first = y + high / 2 + 4.5 - 7.5 * (len(texts) - 1)
    lines = tuple(Label(x + wide / 2, first + 15 * index, text) for index, text in enumerate(texts))
    return Square(x, y, wide, high, tone, f"{pair[0]} to {pair[1]}: {', '.join(text for text, _ in parts)}", lines)


def parts(results: Counts, coverage: Coverage | PairCoverage | None) -> list[Part]:
    """The cells of a pair, or of all, by what came of them; the grades as the coverage has them."""
    packet, session = (coverage.no_packet, coverage.no_session) if coverage else (0, 0)
    counts = (
        ("no-packet", "no packet arrives", packet),
        ("no-session", "no session can be made", session),
        ("declared", "as declared", results.passed - packet - session),
        ("waived", "waived", results.waived),
        ("fail", "fails", results.fail),
        ("inconclusive", "inconclusive", results.inconclusive),
        ("stale", "stale", results.stale),
        ("not-run", "not run", results.not_run),
    )
    return [Part(*one) for one in counts]


def bar(of: Sequence[Part], width: float) -> list[Part]:
    """Laid side by side over the width, to scale but for what would be too thin to see."""
    shown = [part for part in of if part.count]
    whole = sum(part.count for part in shown)
    wanted = [max(LEAST, width * part.count / whole) for part in shown]
    scale = width / sum(wanted) if wanted else 0.0
    laid, x = [], 0.0
    for part, want in zip(shown, wanted, strict=True):
        laid.append(Part(part.tone, part.label, part.count, round(x, 2), round(want * scale, 2)))
        x += want * scale
    return laid
