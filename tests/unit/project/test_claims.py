"""Every test that the documents name for a claim is there."""

from __future__ import annotations

import re

import pytest

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
