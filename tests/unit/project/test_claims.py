"""Every test that the documents name for a claim is there."""

from __future__ import annotations

import re

import pytest

from cli.formats.table import FORMATS
from tests.support.paths import ROOT


@pytest.mark.parametrize("document", ["reliability.md", "security.md"])
def test_every_claim_has_its_test(document: str) -> None:
    text = (ROOT / "docs" / document).read_text()
    named = re.findall(r"`([\w/.…-]+)::(test_\w+)`", text)
    assert len(named) > 20
    file, missing = "", []
    for place, test in named:
        file = file if place == "…" else place
        path = ROOT / "tests" / file
        if not path.is_file() or f"def {test}(" not in path.read_text():
            missing.append(f"{file}::{test}")
    assert not missing


def test_every_attack_has_its_row_and_each_row_a_test_or_what_is_open() -> None:
    text = (ROOT / "docs" / "security.md").read_text().partition("## Attacks that were carried out")[2]
    rows = dict(re.findall(r"^\| (\d+|low: [^|]+) ?[^|]*\| (.+) \|$", text, flags=re.MULTILINE))
    assert {number for number in rows if number.isdigit()} == {str(number) for number in range(1, 25)}
    assert len(rows) == 24 + 7
    assert not [name for name, said in rows.items() if "::test_" not in said and "Open: " not in said]


def test_the_page_of_security_knows_every_kind_of_attacker() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    kinds = (
        "Captured broker",
        "Captured agent",
        "Captured coordinator",
        "On-path attacker",
        "Malicious topology author",
    )
    for kind in (*kinds, "Hostile scanned host", "Local user"):
        assert f"\n## {kind}\n" in text


def test_the_page_for_pipelines_names_every_format() -> None:
    text = (ROOT / "docs" / "pipeline.md").read_text()
    assert [form for form in FORMATS if f"`{form}`" not in text] == []


def test_the_page_of_the_rooms_names_what_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.(?:py|json))?)`", text))
    assert len(named) > 60
    roots = [ROOT, *(ROOT / package for package in ("cli", "coordinator", "probes", "wire", "docs"))]
    assert sorted(name for name in named if not any((root / name).exists() for root in roots)) == []
