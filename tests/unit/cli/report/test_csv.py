"""The report in rows: nobody's text is a formula."""

from __future__ import annotations

import csv
import io

import pytest
from msgspec.structs import replace

from cli.report.csv import COLUMNS, rows
from coordinator.api.responses.estate import LostReports
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


def test_what_was_lost_has_a_line_with_its_why() -> None:
    body = body_of()
    lost = LostReports(
        agent="dev-1", environment="dev", batches=2, reports=12, since="2024-01-01T08:59:00.000Z",
        until="2024-01-01T09:00:00.000Z", why=("age", "bytes"),
    )  # fmt: skip
    body = replace(body, coverage=replace(body.coverage, lost=(lost,)))
    [line] = [row for row in csv.DictReader(io.StringIO(rows(body))) if row["record"] == "lost"]
    assert {name: text for name, text in line.items() if text} == {
        "record": "lost", "source": "dev", "agents": "dev-1", "reason": "age bytes", "first_seen": lost.since,
        "last_seen": lost.until, "reports": "12", "text": "it could not send them for too long, its spool was full",
    }  # fmt: skip
