"""The report as one HTML file: no script, nothing loaded from elsewhere, fit for paper."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cli.report import figures, words
from cli.show.grid import by_pair
from cli.show.render import clean, glyph_of, percent, plural
from coordinator.api.responses.report import Report


def page(body: Report) -> str:
    """The page's text. It is well-formed XML, too."""
    coverage = by_pair(body.coverage)
    pairs = [
        {
            "source": pair.source,
            "destination": pair.destination,
            "results": pair.results,
            "entry": entry,
            "bar": figures.bar(figures.parts(pair.results, entry), 140.0),
        }
        for pair in body.matrix.pairs
        for entry in [coverage.get((pair.source, pair.destination))]
    ]
    whole = figures.parts(body.summary, body.coverage)
    word, said = words.verdict(body)
    return (
        _templates()
        .get_template("page.html")
        .render(
            body=body,
            word=word,
            said=said,
            grid=figures.grid(body),
            legend=whole,
            whole=figures.bar(whole, 960.0),
            pairs=pairs,
            unproven=words.why_unproven(body.unproven),
        )
    )


def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"glyph_of": glyph_of, "words": words}
    made.filters |= {
        "count": lambda number: f"{number:,}" if number else "·",
        "number": lambda number: f"{number:,}",
        "percent": percent,
        "plural": plural,
        "stamp": words.stamp,
    }
    return made


def _shown(value: object) -> object:
    """What anybody may have said loses what could hide or turn text; markup is the template's own."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
