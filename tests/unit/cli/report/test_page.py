"""The report's page: whole by itself, and nobody's text is more than text."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cli.report.csv import rows
from cli.report.markdown import markdown
from cli.report.page import page
from cli.report.words import MOST_EVENTS
from coordinator.api import report
from tests.support.report_body import EVIL, body_of, tree
from tests.support.sample import Estate


def shape(root: ET.Element) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.tag, tuple(sorted(one.attrib))) for one in root.iter()]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)


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


def test_a_finding_is_told_with_its_life_and_its_evidence() -> None:
    body = body_of("said by others")
    [finding] = [entry.finding for entry in body.findings]
    [article] = list(tree(page(body)).iter("article"))
    assert article.get("id") == finding.id
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


def test_a_heading_stays_with_what_it_is_about_and_a_card_has_no_empty_lines() -> None:
    html = page(body_of())
    print_rules = html[html.index("@media print") : html.index("</style>")]
    assert "h2, h3, thead, h2 + p, h3 + p { break-after: avoid; }" in print_rules
    narrow = html[html.index("@media screen and") : html.index("@page")]
    assert "td.zero { display: none; }" in narrow
    labels = {cell.get("data-label", "") for cell in tree(html).iter("td")}
    assert max(map(len, labels)) <= len("what would settle it"), "a label of two lines runs into the next card"
    figures = [cell for cell in tree(html).iter("td") if "number" in cell.get("class", "").split()]
    assert {(cell.text, "zero" in cell.get("class", "").split()) for cell in figures if cell.text == "·"} == {
        ("·", True)
    }
    assert not [cell.text for cell in figures if "zero" in cell.get("class", "").split() and cell.text != "·"]


def test_a_long_period_is_cut_and_says_so() -> None:
    body = body_of()
    assert body.period is not None
    many = msgspec.structs.replace(body.period, events=body.period.events[:1] * (MOST_EVENTS + 1))
    body = msgspec.structs.replace(body, period=many)
    html, told = page(body), markdown(body)
    assert [one for one in tree(html).iter("section") if one.get("id") == "period"][0].find(
        "table/tbody[tr]"
    ) is not None
    for text in (html, told):
        assert "The newest 500; -o json has all 501:" in text
    assert rows(body).count("\r\nevent,") == MOST_EVENTS + 1
