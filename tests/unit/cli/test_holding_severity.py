"""`verify --severity`: what is below it fails nothing, is shown in every format, and hides nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from msgspec.structs import replace

from cli import holding
from cli.formats.junit import junit
from cli.formats.markdown import markdown
from cli.formats.sarif import sarif
from coordinator.api.responses.runs import FinishedRun
from coordinator.topology.baseline import parse_baseline
from tests.support.answers import json_of
from tests.support.pipeline import KNOWN, NOTHING, Serving, held, mild
from tests.support.sample import Estate
from tests.support.sarif import SARIF

ENDED = KNOWN.replace("2027-01-31", "2026-11-01")
SMALLER = KNOWN.replace("addresses: [10.30.0.21]", "addresses: [10.30.0.22]")


@pytest.mark.parametrize(("severity", "code"), [("low", 1), ("medium", 1), ("high", 0), ("critical", 0)])
def test_a_finding_fails_the_run_from_its_severity_on(serving: Serving, severity: str, code: int) -> None:
    run = serving(environments=mild())
    result = run("--severity", severity)
    assert result.exit_code == code, result.output
    body = json.loads(run("--severity", severity, "-o", "json").stdout)
    [finding] = body["findings"]
    below = int(code == 0)
    assert (body["result"], finding["result"]) == (("pass", "below") if below else ("fail", "fail"))
    assert body["severity"] == {"from": severity, "below": below}
    assert (body["summary"]["fail"], body["summary"]["below"]) == (1 - below, below)
    assert finding["below"] == (severity if below else None)
    assert "baseline" not in body
    assert "baseline" not in finding
    assert "baselined" not in body["summary"]


def test_what_is_below_is_shown_and_not_hidden(serving: Serving) -> None:
    run = serving(environments=mild())
    said = " ".join(run("--severity", "high").stdout.split())
    assert said.startswith("PASS nothing fails, 1 failing cell below the threshold · ")
    name = run.fake.estate.book.findings[0].id
    assert (
        f"~ dev → prod.model-registry tcp/5000 is below the threshold ({name}): medium, and fails from high on" in said
    )
    assert said.endswith("exit 0")


def test_without_it_nothing_of_the_json_changes(serving: Serving) -> None:
    body = json.loads(serving(environments=mild())("-o", "json").stdout)
    assert set(body) == set(json_of(Estate().run_body().result))
    assert "below" not in body["findings"][0]


def test_what_is_not_proven_is_not_hidden_by_a_severity(serving: Serving) -> None:
    run = serving(undecided=True, environments=mild())
    assert run("--severity", "high").exit_code == 3
    assert run("--severity", "high", "--allow-inconclusive").exit_code == 0
    assert run("--severity", "medium", "--allow-inconclusive").exit_code == 1


def test_a_word_that_is_no_severity_is_refused(serving: Serving) -> None:
    run = serving()
    result = run("--severity", "urgent")
    assert result.exit_code == 2
    assert "'urgent' is not one of 'low', 'medium', 'high', 'critical'" in result.stderr
    assert run.fake.posted == []


def test_a_cell_of_no_finding_counts_by_what_it_would_be() -> None:
    body = Estate(environments=mild()).run_body()
    [cell] = body.failing
    alone = replace(body, failing=(replace(cell, finding=None),), result=replace(body.result, findings=()))
    after = holding.hold(alone, severity="high").result
    assert (after.result, json_of(after)["summary"]["below"]) == ("pass", 1)
    assert holding.hold(alone, severity="medium").result.result == "fail"
    older = replace(alone, failing=(replace(cell, finding=None, severity=None),))
    assert holding.hold(older, severity="critical").result.result == "fail", "nobody knows how bad it would be"
    newer = replace(alone, failing=(replace(cell, finding=None, severity="word-of-later"),))
    assert holding.hold(newer, severity="critical").result.result == "fail"


def test_with_a_baseline_what_is_known_is_known_first() -> None:
    run = json_of(held(KNOWN, "high", environments=mild()).result)
    assert (run["summary"]["baselined"], run["summary"]["below"], run["severity"]["below"]) == (1, 0, 0)
    [finding] = run["findings"]
    assert (finding["result"], finding["baseline"]["state"], finding["below"]) == ("baselined", "known", "high")


@pytest.mark.parametrize(
    ("text", "state", "said"),
    [
        (NOTHING, "new", "fails from high on"),
        (SMALLER, "new", "fails from high on"),
        (ENDED, "ended", "; its entry of data-eng ended on 2026-11-01 (known.yaml:3): close it, or renew it"),
    ],
)
def test_with_a_baseline_that_does_not_know_it_it_is_below(text: str, state: str, said: str) -> None:
    after = held(text, "high", environments=mild()).result
    run = json_of(after)
    assert (run["result"], run["summary"]["baselined"], run["summary"]["below"]) == ("pass", 0, 1)
    [finding] = run["findings"]
    assert (finding["result"], finding["baseline"]["state"]) == ("below", state)
    assert holding.of_finding(after.findings[0]).endswith(said)
    assert held(text, "medium", environments=mild()).result.result == "fail"


def test_a_hole_that_grew_below_the_severity_says_where() -> None:
    body = Estate(environments=mild()).run_body()
    [cell], [finding], counts = body.failing, body.result.findings, body.result.summary
    grown = replace(
        body,
        failing=(replace(cell, ports="5000-5001"),),
        result=replace(body.result, findings=(replace(finding, ports="5000-5001"),), summary=replace(counts, fail=2)),
    )
    after = holding.hold(grown, parse_baseline(KNOWN.encode(), "known.yaml"), "high").result
    summary = json_of(after)["summary"]
    assert (after.result, summary["fail"], summary["baselined"], summary["below"]) == ("pass", 0, 1, 1)
    said = holding.of_finding(after.findings[0])
    assert said.endswith("; it has grown: known.yaml:3 (data-eng) does not name dev-1 → 10.30.0.21 tcp/5001")


def test_a_baseline_is_written_of_all_that_fails(serving: Serving) -> None:
    run = serving(environments=mild())
    path = run.file("known.yaml")
    result = run("--severity", "critical", "--write-baseline", path, "--owner", "ada")
    assert result.exit_code == 0, result.output
    assert "1 entry written" in result.stderr
    assert "ports: [tcp/5000]" in Path(path).read_text()


def two(severity: str) -> FinishedRun:
    """The leak, which is medium, and a second finding of this severity in the same check."""
    body = Estate(environments=mild()).run_body()
    [cell], [finding] = body.failing, body.result.findings
    [check] = [one for one in body.checks if one.result == "fail"]
    other = replace(finding, id="F-other", severity=severity)
    return replace(
        body,
        failing=(cell, replace(cell, finding="F-other", address="10.30.0.22")),
        result=replace(body.result, findings=(finding, other), summary=replace(body.result.summary, fail=2)),
        checks=(replace(check, findings=(finding.id, "F-other"), results=replace(check.results, fail=2)),),
    )


def test_junit_skips_what_is_below() -> None:
    [low], [high] = (
        ET.fromstring(junit(holding.hold(Estate(environments=mild()).run_body(), severity=severity))).findall(
            f".//{tag}"
        )
        for severity, tag in (("high", "skipped"), ("medium", "failure"))
    )
    assert "is below the threshold" in str(low.get("message"))
    assert "threshold" not in str(high.text)


def test_junit_says_what_is_below_beside_what_fails() -> None:
    [failure] = ET.fromstring(junit(holding.hold(two("critical"), severity="high"))).findall(".//failure")
    assert ", 1 fail, 1 below " in str(failure.get("message"))
    assert str(failure.text).startswith("severity: dev → prod.model-registry tcp/5000 is below the threshold")


def test_junit_skips_a_check_of_known_and_of_low_cells_with_both() -> None:
    after = holding.hold(two("medium"), parse_baseline(KNOWN.encode(), "known.yaml"), "high")
    [skipped] = ET.fromstring(junit(after)).findall(".//skipped")
    assert f"is known ({after.result.findings[0].id})" in str(skipped.get("message"))
    assert "is below the threshold (F-other)" in str(skipped.get("message"))
    assert after.result.result == "pass"


def test_sarif_suppresses_what_is_below() -> None:
    for severity, suppressed in (("high", True), ("medium", False)):
        log = json.loads(sarif(holding.hold(Estate(environments=mild()).run_body(), severity=severity), "t.yaml"))
        SARIF.validate(log)
        [leak] = log["runs"][0]["results"]
        assert ("suppressions" in leak, "baselineState" in leak) == (suppressed, False)
        if suppressed:
            assert "is below the threshold" in leak["suppressions"][0]["justification"]
    [leak] = json.loads(sarif(held(ENDED, "high", environments=mild()), "t.yaml"))["runs"][0]["results"]
    assert leak["baselineState"] == "unchanged"
    assert "ended on 2026-11-01" in leak["suppressions"][0]["justification"]


def test_markdown_has_what_is_below_in_a_list_of_its_own() -> None:
    text = markdown(holding.hold(Estate(environments=mild()).run_body(), severity="high"), "t.yaml")
    assert text.startswith("✓ **segwatch PASS** · nothing fails, 1 failing cell below the threshold · ")
    assert "~ 1 below" in text
    _, _, rest = text.partition("**Below the threshold**, and fails nothing\n\n- dev → prod.model-registry tcp/5000 ")
    assert rest.startswith("is below the threshold")
    assert "**Fails**" not in text
