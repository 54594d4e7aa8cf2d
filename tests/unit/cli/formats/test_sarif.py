"""`verify` in SARIF: valid, and at the lines that decide."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from msgspec.structs import replace

from cli.formats.sarif import sarif
from coordinator.api.responses.runs import FinishedRun
from tests.support.pipeline import KNOWN, held
from tests.support.sample import Estate
from tests.support.sarif import SARIF


@pytest.mark.parametrize("text", [None, KNOWN, KNOWN.replace("2027", "2026"), "version: 1\nknown: []\n"])
def test_sarif_is_valid_whatever_the_baseline_says(text: str | None) -> None:
    body = Estate(undecided=True).run_body() if text is None else held(text, undecided=True)
    log = json.loads(sarif(body, "infra/topology.yaml"))
    SARIF.validate(log)
    assert len(log["runs"][0]["results"]) == 2
    spoilt = copy.deepcopy(log)
    spoilt["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] = 0
    assert not SARIF.is_valid(spoilt), "the schema is one that refuses something"


def test_sarif_points_at_the_lines_that_decide() -> None:
    leak, unproven = json.loads(sarif(Estate(undecided=True).run_body(), "infra/topology.yaml"))["runs"][0]["results"]
    place = leak["locations"][0]["physicalLocation"]
    assert (leak["ruleId"], leak["level"]) == ("unexpected-path", "error")
    assert place["artifactLocation"]["uri"] == "infra/topology.yaml"
    assert place["region"] == {"startLine": 41, "endLine": 46}, "the paths, none of which allows it"
    [near] = leak["relatedLocations"]
    assert near["physicalLocation"]["region"]["startLine"] == 41
    assert near["message"]["text"] == "nearest: path 'ci-promotes-models' from staging to prod.model-registry"
    assert "Take out what lets 10.10.0.10 reach 10.30.0.21 tcp/5000 in the firewall." in leak["message"]["text"]
    assert "suppressions" not in leak
    assert "baselineState" not in leak
    assert (unproven["ruleId"], unproven["level"]) == ("unproven", "warning")
    assert "To settle it: install an agent on 10.30.0.21" in unproven["message"]["text"]


@pytest.mark.parametrize("cut", [{"ended": True}, {"stopped": "freeze"}])
def test_sarif_says_that_a_run_was_not_through(cut: dict[str, Any]) -> None:
    def successful(body: FinishedRun) -> bool:
        log = json.loads(sarif(body, "t.yaml"))
        SARIF.validate(log)
        return bool(log["runs"][0]["invocations"][0]["executionSuccessful"])

    body = Estate().run_body()
    assert successful(body)
    assert not successful(replace(body, **cut))


def test_sarif_knows_a_finding_again_by_what_it_is() -> None:
    def prints(body: FinishedRun) -> list[str]:
        results = json.loads(sarif(body, "t.yaml"))["runs"][0]["results"]
        return [result["partialFingerprints"]["primaryLocationLineHash"] for result in results]

    body = Estate(undecided=True).run_body()
    [finding] = body.result.findings
    renamed = replace(body, result=replace(body.result, findings=(replace(finding, id="F-other"),)))
    assert prints(renamed) == prints(body)
    assert len(set(prints(body))) == 2


def test_what_is_known_is_suppressed_in_sarif_and_what_ended_is_not() -> None:
    for text, state, suppressed in (
        (KNOWN, "unchanged", True),
        (KNOWN.replace("2027", "2026"), "unchanged", False),
        ("version: 1\nknown: []\n", "new", False),
    ):
        [leak] = json.loads(sarif(held(text), "t.yaml"))["runs"][0]["results"]
        assert (leak["baselineState"], "suppressions" in leak) == (state, suppressed)
