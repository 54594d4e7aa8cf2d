"""`verify` in JUnit, with a baseline."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from coordinator.api.responses.runs import FinishedRun
from tests.support.pipeline import KNOWN, held


def test_junit_skips_what_is_known_and_says_whose_it_is() -> None:
    from cli.formats.junit import junit

    def cases(body: FinishedRun) -> dict[str, list[ET.Element]]:
        root = ET.fromstring(junit(body))
        return {tag: root.findall(f".//testcase/{tag}") for tag in ("failure", "skipped", "error")}

    known = cases(held(KNOWN))
    assert not known["failure"]
    assert "data-eng, until 2027-01-31, known.yaml:3" in str(known["skipped"][0].get("message"))
    [failure] = cases(held(KNOWN.replace("2027", "2026")))["failure"]
    assert str(failure.text).startswith("baseline: dev → prod.model-registry tcp/5000: its entry of data-eng ended on")
