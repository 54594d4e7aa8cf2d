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


def test_the_page_for_pipelines_names_every_format() -> None:
    text = (ROOT / "docs" / "pipeline.md").read_text()
    assert [form for form in FORMATS if f"`{form}`" not in text] == []


def test_the_page_of_the_rooms_names_what_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.(?:py|json))?)`", text))
    assert len(named) > 60
    roots = [ROOT, *(ROOT / package for package in ("cli", "coordinator", "probes", "wire", "docs"))]
    assert sorted(name for name in named if not any((root / name).exists() for root in roots)) == []
