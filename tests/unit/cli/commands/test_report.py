"""`segwatch report` in its formats: the figures are those of the other verbs, and nobody's text is more than text."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cli.commands.report import rendered
from cli.main import cli
from cli.report.figures import LEAST, MOST_GLYPHS, MOST_WORDS, Part, bar, grid, parts
from cli.report.markdown import markdown
from cli.report.page import page
from cli.report.rows import COLUMNS, rows
from cli.show.render import percent
from coordinator.api import report
from reachability.ports import PortSet
from reachability.topology import PortSpec, Selector, Waiver
from tests.support.fake_api import FakeCoordinator, served
from tests.support.sample import NOW, Estate
from tests.support.waiting import HANG_S

EVIL = (
    "<script>alert(1)</script>\"><img src=x onerror=alert(1)>'&lt; {{ 7 * 7 }} {% raw %} ``` | [x](javascript:alert(1)) "
    "![y](http://192.0.2.1/z) \x1b[31m \u202e=cmd"
)
FORMULA = "=HYPERLINK(1)"


def body_of(said: str = "an HTTP answer", **estate: bool) -> dict[str, Any]:
    """A report in which all that others may say is `said`."""
    ends = (Selector("dev", environment="dev"), Selector("prod.feature-store", "prod", service="feature-store"))
    made = Estate(undecided=True, waivers=(waiver(said, ends),), **estate)
    [finding] = made.book.findings
    made.events.append(made.book.acknowledge(finding.id, said, said, NOW))
    path = replace(made.topology.paths[0], owner=said, justification=said)
    made.topology = replace(made.topology, paths=(path,), file=said)
    body = deepcopy(report.report(made.snapshot()))
    for agent in body["agents"]:
        agent.update(raw=False, lacks=said, version=said, addresses=[said])
    [entry] = body["findings"]
    entry["finding"]["identified"] = entry["evidence"]["note"] = said
    entry["finding"]["reason"] = entry["evidence"]["control_by"] = entry["evidence"]["no_witness_why"] = said
    entry["evidence"]["refused_by"] = entry["evidence"]["via"] = said
    return body


def waiver(said: str, ends: tuple[Selector, Selector]) -> Waiver:
    return Waiver("W-1", *ends, PortSpec(tcp=PortSet.of([6379])), said, said, NOW + timedelta(days=30))


def tree(html: str) -> ET.Element:
    return ET.fromstring(html.split("\n", 1)[1] if html.startswith("<!DOCTYPE html>\n") else html)


def shape(root: ET.Element) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.tag, tuple(sorted(one.attrib))) for one in root.iter()]


def table(root: ET.Element, *titles: str) -> list[list[str]]:
    """The rows of the table that has these titles."""
    for one in root.iter("table"):
        heads = ["".join(head.itertext()) for head in one.iter("th")]
        if heads[: len(titles)] == list(titles):
            return [["".join(cell.itertext()).strip() for cell in row.iter("td")] for row in one.iter("tr")][1:]
    raise AssertionError(f"no table {titles}")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)


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


def test_the_page_is_whole_by_itself_and_fit_for_paper() -> None:
    html = page(body_of())
    root = tree(html)
    assert not [one for one in root.iter() if one.tag in {"script", "link", "img", "iframe", "object", "form", "base"}]
    links = [one.get("href", "") for one in root.iter("a")]
    ids = {one.get("id") for one in root.iter() if one.get("id")}
    assert links
    assert all(link.startswith("#") and link[1:] in ids for link in links), "a link leads out of the file or nowhere"
    assert "url(" not in html.replace("url(#hatched)", "").replace("url(#dotted)", "")
    [policy] = [one.get("content") for one in root.iter("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    tables = list(root.iter("table"))
    assert all(one.find("thead") is not None for one in tables), "paper repeats the heads of these alone"
    for one in tables:
        heads = ["".join(head.itertext()) for head in one.iter("th")]
        for row in one.findall("tbody/tr"):
            assert [cell.get("data-label") for cell in row] == heads, "a narrow screen shows these beside the cells"


def test_an_estate_of_which_nothing_is_known_has_a_page_too() -> None:
    taken = Estate().snapshot()
    body = report.report(replace(taken, cells=(), findings=(), events=(), agents=()))
    text = " ".join("".join(tree(page(body)).itertext()).split())
    assert "UNPROVEN no finding stands" in text
    assert "dev → prod: not a single cell" in text
    assert "UNPROVEN" in markdown(body)
    assert "untested" in rows(body)


def test_what_others_said_is_escaped_on_the_page() -> None:
    harmless, evil = page(body_of("x" * 9)), page(body_of(EVIL))
    assert shape(tree(evil)) == shape(tree(harmless))
    text = "".join(tree(evil).itertext())
    assert text.count("<script>alert(1)</script>") > 10
    assert "{{ 7 * 7 }} {% raw %}" in text
    assert "<script" not in evil
    assert not {"\x1b", "\u202e"} & set(evil)
    as_a_browser = Tags()
    as_a_browser.feed(evil)
    assert "article" in as_a_browser.seen
    assert not {"script", "img"} & as_a_browser.seen


@settings(max_examples=25)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(lambda text: f"x{text}"))
@example("x" + "".join(map(chr, range(256))))
@example("x\ufffe\uffff\u2028")
def test_no_text_changes_the_shape_of_the_page(said: str) -> None:
    assert shape(tree(page(body_of(said)))) == shape(tree(page(body_of("harmless"))))


def tokens(text: str) -> list[str]:
    """What Markdown with tables makes of it, and HTML as it stands in it."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        found.append(token.type)
        found += [child.type + child.content * (child.type == "html_inline") for child in token.children or ()
                  if child.type not in {"text", "text_special", "softbreak"}]  # fmt: skip
    return found


@settings(max_examples=25)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(lambda text: f"x{text}x"))
@example(EVIL)
@example("# x")
@example("- x\n\n<script>")
def test_what_others_said_is_no_markdown(said: str) -> None:
    made = tokens(markdown(body_of(said)))
    assert made == tokens(markdown(body_of("harmless")))
    assert {token for token in made if token.startswith("html")} <= {"html_inline<br>"}


@pytest.mark.parametrize("said", [FORMULA, "+1+1", "-1+1", "@SUM(1)", "\t=1", " =1", EVIL, 'a "b", c\r\nd', "\r=1"])
def test_what_others_said_is_no_formula(said: str) -> None:
    read = list(csv.reader(io.StringIO(rows(body_of(said)))))
    assert {len(row) for row in read} == {len(COLUMNS)}
    assert len(read) == len(list(csv.reader(io.StringIO(rows(body_of("harmless"))))))
    texts = [cell for row in read for cell in row]
    assert not [text for text in texts if text.lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert any(said.strip()[:4] in text for text in texts)


def test_a_finding_is_told_with_its_life_and_its_evidence() -> None:
    body = body_of("said by others")
    [finding] = [entry["finding"] for entry in body["findings"]]
    [article] = list(tree(page(body)).iter("article"))
    assert article.get("id") == finding["id"]
    text = " ".join(" ".join(article.itertext()).split())
    for part in (
        "dev can reach prod's model registry critical · CWE-653, CWE-668 · acknowledged",
        "dev-1 → prod model-registry 10.30.0.21 tcp/5000",
        "why whoever is in dev can replace a model in prod",
        "nearest line 41 'ci-promotes-models', from staging to prod.model-registry",
        "sent dev-1 10.10.0.10 → 10.30.0.21:5000 tcp: 3 copies over 3 flows",
        "answer SYN-ACK from said by others, 0.402 ms, 1 hop",
        "witness none on 10.30.0.21",
        "so it answered, and something shows that the host itself did: reachable (row 2 of the table)",
        "life acknowledged, first seen 2026-11-23 12:06:06",
        "history 2026-11-23 12:06:07 opened (dev → prod 10.30.0.21 tcp/5000) · 2026-11-23 12:06:07 acknowledged",
        "next take out what lets 10.10.0.10 reach 10.30.0.21 tcp/5000 in the firewall",
    ):
        assert part in text
    told = markdown(body)
    assert "- next: take out what lets 10.10.0.10 reach 10.30.0.21 tcp/5000 in the firewall" in told


def many(environments: int) -> Mapping[str, Any]:
    names = [f"e{number}" for number in range(environments)]
    results = dict.fromkeys(("pass", "fail", "waived", "inconclusive", "stale", "not_run"), 0)
    pairs = [{"source": a, "destination": b, "results": results} for a in names for b in names if a != b]
    return {"matrix": {"environments": names, "pairs": pairs}, "coverage": {"pairs": []}, "findings": []}


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
    assert sum(part.count for part in parts(body["summary"], body["coverage"])) == body["coverage"]["cells"]


def test_a_file_is_written_and_said(asked: Callable[..., Result], tmp_path: Path) -> None:
    done = asked("report", "--out", str(tmp_path / "r.html"))
    assert (done.exit_code, done.stderr) == (0, "")
    assert " ".join(done.stdout.split()).startswith(f"{tmp_path}/r.html: FAIL, 1 finding · 4 environments, ")
    assert (tmp_path / "r.html").read_text() == asked("report").stdout
    done = asked("report", "-o", "csv", "--out", str(tmp_path / "none" / "r.csv"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"segwatch report: {tmp_path}/none/r.csv: No such file or directory\n"


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
