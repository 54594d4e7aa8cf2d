"""The report in rows: nobody's text is a formula."""

from __future__ import annotations

import csv
import io

import pytest

from cli.report.csv import COLUMNS, rows
from tests.support.report_body import EVIL, body_of

FORMULA = "=HYPERLINK(1)"


@pytest.mark.parametrize("said", [FORMULA, "+1+1", "-1+1", "@SUM(1)", "\t=1", " =1", EVIL, 'a "b", c\r\nd', "\r=1"])
def test_what_others_said_is_no_formula(said: str) -> None:
    read = list(csv.reader(io.StringIO(rows(body_of(said)))))
    assert {len(row) for row in read} == {len(COLUMNS)}
    assert len(read) == len(list(csv.reader(io.StringIO(rows(body_of("harmless"))))))
    texts = [cell for row in read for cell in row]
    assert not [text for text in texts if text.lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert any(said.strip()[:4] in text for text in texts)
