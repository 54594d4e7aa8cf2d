"""Protocols that no probe tries are said wherever coverage is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from cli.commands.coverage import listing
from cli.report.csv import rows
from cli.report.markdown import markdown
from cli.report.page import page
from cli.show.render import Paint
from coordinator.api import views
from coordinator.api.responses.report import Report
from tests.support.report_body import body_of
from tests.support.sample import Estate

SAID = "not tested: SCTP, DCCP, UDPLITE, GRE, "


def test_coverage_says_which() -> None:
    estate = Estate()
    body = views.coverage_body(estate.topology, estate.cells)
    lines = listing(body, Paint(color=False))
    assert any(line.strip().startswith(SAID) for line in lines)
    assert max(map(len, lines)) <= 100
    older = listing(replace(body, not_tested=()), Paint(color=False))
    assert not any("not tested" in line for line in older), "a coordinator that does not say it yet"


@pytest.mark.parametrize(("drawn", "said"), [(markdown, f"- {SAID}"), (page, f"<li>{SAID}"), (rows, "not-tested,")])
def test_so_does_the_report(drawn: Callable[[Report], str], said: str) -> None:
    body = body_of()
    assert said in drawn(body)
    assert said not in drawn(replace(body, coverage=replace(body.coverage, not_tested=())))
