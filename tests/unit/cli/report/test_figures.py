"""What the report draws: the matrix and the bars."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from cli.report.figures import LEAST, MOST_GLYPHS, MOST_WORDS, Part, bar, grid, parts
from coordinator.api.responses.estate import Counts, Matrix, Pair
from coordinator.api.responses.report import Report
from tests.support.report_body import body_of


def many(environments: int) -> Report:
    names = tuple(f"e{number}" for number in range(environments))
    none = Counts(passed=0, fail=0, waived=0, inconclusive=0, stale=0, not_run=0)
    pairs = tuple(Pair(source=a, destination=b, results=none, coverage=0.0) for a in names for b in names if a != b)
    body = body_of()
    return replace(
        body,
        matrix=Matrix(environments=names, pairs=pairs),
        coverage=replace(body.coverage, pairs=()),
        findings=(),
    )


def test_the_matrix_holds_words_then_glyphs_then_gives_up() -> None:
    few, lots = grid(many(MOST_WORDS)), grid(many(MOST_GLYPHS))
    assert few is not None
    assert lots is not None
    assert {line.text for square in few.squares for line in square.lines} == {"no cells"}
    assert {line.text for square in lots.squares for line in square.lines} == {"·"}
    assert grid(many(MOST_GLYPHS + 1)) is None
    for drawn in (few, lots):
        assert len(drawn.squares) == len(drawn.sources) ** 2
        assert all(s.x + s.width <= drawn.width and s.y + s.height <= drawn.height for s in drawn.squares)


def test_a_square_has_a_glyph_whatever_its_colour() -> None:
    drawn = grid(body_of())
    assert drawn is not None
    toned = {
        square.title.split(":")[0]: (square.tone, [line.text for line in square.lines]) for square in drawn.squares
    }
    assert toned["dev to prod"] == ("bad", ["✗ 1 path"])
    assert toned["test to prod"][0] == "warn"
    assert toned["dev to test"] == ("good", ["■ 100%"])


def test_nothing_in_a_bar_is_too_thin_to_be_seen() -> None:
    laid = bar([Part("no-packet", "", 65_000), Part("stale", "", 0), Part("fail", "", 1)], 160.0)
    assert [part.tone for part in laid] == ["no-packet", "fail"]
    assert laid[1].width > LEAST * 0.9
    assert laid[-1].x + laid[-1].width == pytest.approx(160.0, abs=0.05)
    assert bar([Part("fail", "", 0)], 160.0) == []
    body = body_of()
    assert sum(part.count for part in parts(body.summary, body.coverage)) == body.coverage.cells
