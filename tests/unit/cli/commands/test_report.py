"""`segwatch report` in its formats: the figures are those of the other verbs."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from cli.commands.report import rendered
from cli.main import cli
from cli.show.render import percent
from tests.support.fake_api import FakeCoordinator, served
from tests.support.report_body import body_of, tree
from tests.support.sample import Estate
from tests.support.waiting import HANG_S


def table(root: ET.Element, *titles: str) -> list[list[str]]:
    """The rows of the table that has these titles."""
    for one in root.iter("table"):
        heads = ["".join(head.itertext()) for head in one.iter("th")]
        if heads[: len(titles)] == list(titles):
            return [["".join(cell.itertext()).strip() for cell in row.iter("td")] for row in one.iter("tr")][1:]
    raise AssertionError(f"no table {titles}")


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Callable[..., Result]]:
    with served(FakeCoordinator(Estate(undecided=True)), tmp_path / "state"):
        yield lambda *words: CliRunner().invoke(cli, [*words, "--state-dir", str(tmp_path / "state")])


def figure(text: str) -> int:
    return 0 if text == "·" else int(text.replace(",", ""))


NAMES = ("fail", "waived", "inconclusive", "stale", "not_run", "no_packet", "no_session", "beyond_proof")


def expected(asked: Callable[..., Result]) -> dict[str, dict[str, Any]]:
    """Of each pair, what `matrix` and `coverage` say."""
    matrix = json.loads(asked("matrix", "-o", "json").stdout)
    coverage = json.loads(asked("coverage", "-o", "json").stdout)
    by_pair = {(pair["source"], pair["destination"]): pair for pair in coverage["pairs"]}
    found = {}
    for pair in matrix["pairs"]:
        entry = by_pair[(pair["source"], pair["destination"])]
        # `matrix` counts all cells by result; `coverage` those of them that are required.
        figures = {name: entry[name] if name in entry else pair["results"][name] for name in NAMES}
        figures |= {"proven": percent(entry["coverage"]), "of": f"{entry['proven']:,}/{entry['required']:,}"}
        found[f"{pair['source']} → {pair['destination']}"] = figures
    return found


def test_the_page_has_the_figures_of_matrix_and_coverage(asked: Callable[..., Result]) -> None:
    root = tree(asked("report").stdout)
    titles = ("pair", "cells", "proven", "of required")
    shown = {
        pair: {
            "proven": proven.removeprefix("? "),
            "of": of,
            **dict(zip(("no_packet", "no_session", "fail", "waived", "inconclusive", "stale", "not_run", "beyond_proof"),
                       map(figure, figures), strict=True)),
        }
        for pair, _, proven, of, *figures in table(root, *titles)
    }  # fmt: skip
    assert shown == expected(asked)
    assert shown["dev → prod"]["fail"] == 1
    assert shown["test → prod"]["inconclusive"] == 2
    legend = {
        "".join(item.itertext()).strip() for one in root.iter("ul") if one.get("class") == "legend" for item in one
    }
    coverage = json.loads(asked("coverage", "-o", "json").stdout)
    assert f"no packet arrives {coverage['no_packet']:,}" in legend


def test_markdown_has_the_figures_of_matrix_and_coverage(asked: Callable[..., Result]) -> None:
    text = asked("report", "-o", "markdown").stdout
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if " → " in line and line.count("|") > 10]
    shown = {
        pair: {"proven": proven, "of": of, "fail": int(fail), "waived": int(waived)}
        | dict(
            zip(
                ("no_packet", "no_session", "inconclusive", "stale", "not_run", "beyond_proof"),
                map(figure, rest),
                strict=True,
            )
        )
        for pair, proven, of, fail, waived, *rest in lines
    }
    assert shown == expected(asked)


def test_csv_has_the_figures_of_matrix_and_coverage(asked: Callable[..., Result]) -> None:
    read = list(csv.DictReader(io.StringIO(asked("report", "-o", "csv").stdout)))
    coverage = json.loads(asked("coverage", "-o", "json").stdout)
    matrix = json.loads(asked("matrix", "-o", "json").stdout)
    by_pair = {(pair["source"], pair["destination"]): pair for pair in coverage["pairs"]}
    pairs = [row for row in read if row["record"] == "pair"]
    assert len(pairs) == len(matrix["pairs"])
    for row, pair in zip(pairs, matrix["pairs"], strict=True):
        entry = by_pair[(row["source"], row["destination"])]
        assert {name: int(row[name]) for name in pair["results"]} == pair["results"]
        assert all(
            float(row[name]) == entry[name] for name in ("required", "proven", "coverage", "no_packet", "no_session")
        )
    [whole] = [row for row in read if row["record"] == "report"]
    assert (int(whole["cells"]), float(whole["coverage"])) == (coverage["cells"], coverage["coverage"])
    assert [row["id"] for row in read if row["record"] == "finding"] == [
        finding["id"] for finding in json.loads(asked("findings", "-o", "json").stdout)
    ]
    assert [row["ports"] for row in read if row["record"] == "unproven"] == ["22,53"]


def test_json_is_what_the_coordinator_says(asked: Callable[..., Result]) -> None:
    body = json.loads(asked("report", "-o", "json").stdout)
    assert body["matrix"] == json.loads(asked("matrix", "-o", "json").stdout)
    assert body["coverage"] == json.loads(asked("coverage", "-o", "json").stdout)


def test_a_file_is_written_and_said(asked: Callable[..., Result], tmp_path: Path) -> None:
    done = asked("report", "--out", str(tmp_path / "r.html"))
    assert (done.exit_code, done.stderr) == (0, "")
    assert " ".join(done.stdout.split()).startswith(f"{tmp_path}/r.html: FAIL, 1 finding · 4 environments, ")
    assert (tmp_path / "r.html").read_text() == asked("report").stdout
    done = asked("report", "-o", "csv", "--out", str(tmp_path / "none" / "r.csv"))
    assert (done.exit_code, done.stdout) == (2, "")
    nowhere = tmp_path / "none"
    assert done.stderr == (
        f"segwatch report: {nowhere}/r.csv cannot be written: there is no directory {nowhere}\n"
        f"  Make it: mkdir -p {nowhere}\n"
    )


def test_a_period_is_told_in_every_format(asked: Callable[..., Result]) -> None:
    day = ("--since", "2026-11-22", "--until", "2026-11-23T12:06:07Z")
    body = json.loads(asked("report", "-o", "json", *day).stdout)
    assert (body["period"]["since"], body["period"]["until"]) == (
        "2026-11-22T00:00:00.000Z",
        "2026-11-23T12:06:07.000Z",
    )
    [event] = body["period"]["events"]
    assert event["what"] == "opened"
    said = "From 2026-11-22 00:00:00 to 2026-11-23 12:06:07 UTC: 1 opened."
    html = asked("report", *day).stdout
    assert said in " ".join(html.split())
    assert table(tree(html), "when (UTC)", "what", "about") == [
        ["2026-11-23 12:06:07", "opened", event["finding"], event["text"]]
    ]
    told = asked("report", "-o", "markdown", *day).stdout
    assert said in told
    assert f"| 2026-11-23 12:06:07 | opened | {event['finding']} | dev → prod 10.30.0.21 tcp/5000 |" in told
    read = list(csv.DictReader(io.StringIO(asked("report", "-o", "csv", *day).stdout)))
    [period] = [row for row in read if row["record"] == "period"]
    assert (period["first_seen"], period["last_seen"]) == (body["period"]["since"], body["period"]["until"])
    [row] = [row for row in read if row["record"] == "event"]
    assert (row["id"], row["status"], row["first_seen"]) == (event["finding"], "opened", event["at"])
    quiet = asked("report", "-o", "markdown", "--since", "2026-11-01", "--until", "2026-11-02").stdout
    assert "UTC: nothing happened to any finding." in quiet
    assert "What happened" not in asked("report", "-o", "markdown").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--until", "1d"), "--until ends a period: give --since too"),
        (("--since", "yesterday"), "--since: 'yesterday' is not a time; write 30d"),
        (("--since", "1d", "--until", "2026-11"), "--until: '2026-11' is not a time"),
    ],
)
def test_what_is_no_period_is_said(asked: Callable[..., Result], words: tuple[str, ...], said: str) -> None:
    done = asked("report", *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_what_is_no_character_does_not_break_a_file(tmp_path: Path) -> None:
    body = body_of("half of a pair: \ud800")
    for output in ("html", "markdown", "csv", "json"):
        assert rendered(body, output).encode("utf-8", "replace")


def test_a_terminal_is_not_flooded_with_a_page(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    segwatch = str(Path(sys.executable).parent / "segwatch")
    command = [segwatch, "report", "--state-dir", str(tmp_path)]
    try:
        done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=HANG_S, check=False)
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 2
    assert "--out report.html" in done.stderr
