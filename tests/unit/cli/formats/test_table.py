"""`verify` in a pipeline: its reports, its baseline, its limits and its exit codes."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft4Validator

from cli import baseline, following
from cli.commands import verify
from cli.formats.markdown import escaped, markdown
from cli.formats.sarif import sarif
from cli.formats.table import uri_of
from cli.main import cli
from coordinator.topology.baseline import parse_baseline
from tests.support.fake_api import FakeCoordinator, served
from tests.support.paths import ROOT
from tests.support.sample import Estate

# As the npm package @microsoft/jest-sarif ships it (MIT): SARIF 2.1.0 with the errata that forges check against.
SARIF = Draft4Validator(
    json.loads(Path(__file__).with_name("sarif-2.1.0-rtm.5.json").read_text("utf-8")),
    format_checker=Draft4Validator.FORMAT_CHECKER,
)
ENTRY = """\
  - kind: unexpected-path
    from: dev
    to: prod
    addresses: [10.30.0.21]
    ports: [tcp/5000]
    owner: data-eng
    expires: 2027-01-31T00:00:00Z
"""
KNOWN = "version: 1\nknown:\n" + ENTRY


class Pipeline:
    """Runs `segwatch verify` against a coordinator that serves the sample, in a directory of its own."""

    def __init__(self, directory: Path, fake: FakeCoordinator) -> None:
        self.directory, self.fake = directory, fake

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["verify", "--state-dir", str(self.directory / "state"), *arguments])

    def file(self, name: str, text: str = "") -> str:
        path = self.directory / name
        if text:
            path.write_text(text)
        return str(path)


Serving = Callable[..., Pipeline]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """Serve an estate; `waits` is how many polls find the run unfinished."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def serve(waits: int = 0, **estate: bool) -> Pipeline:
            fake = FakeCoordinator(Estate(**estate), waits)
            stack.enter_context(served(fake, tmp_path / "state"))
            return Pipeline(tmp_path, fake)

        yield serve


def held(text: str, **estate: bool) -> dict[str, Any]:
    return baseline.hold(Estate(**estate).run_body(), parse_baseline(text.encode(), "known.yaml"))


# -- SARIF ----------------------------------------------------------------------------------------------------------


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
    assert "To settle it: install an agent on that host" in unproven["message"]["text"]


@pytest.mark.parametrize("cut", [{"ended": True}, {"stopped": "freeze"}])
def test_sarif_says_that_a_run_was_not_through(cut: dict[str, Any]) -> None:
    def successful(body: dict[str, Any]) -> bool:
        log = json.loads(sarif(body, "t.yaml"))
        SARIF.validate(log)
        return bool(log["runs"][0]["invocations"][0]["executionSuccessful"])

    body = Estate().run_body()
    assert successful(body)
    assert not successful({**body, **cut})


def test_sarif_knows_a_finding_again_by_what_it_is() -> None:
    def prints(body: dict[str, Any]) -> list[str]:
        results = json.loads(sarif(body, "t.yaml"))["runs"][0]["results"]
        return [result["partialFingerprints"]["primaryLocationLineHash"] for result in results]

    body = Estate(undecided=True).run_body()
    renamed = copy.deepcopy(body)
    renamed["result"]["findings"][0]["id"] = "F-other"
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


# -- Markdown -------------------------------------------------------------------------------------------------------


def test_markdown_is_one_line_one_table_and_what_to_do() -> None:
    lines = markdown(Estate(undecided=True).run_body(), "topology.yaml").splitlines()
    assert lines[0].startswith("✗ **segwatch FAIL** · 1 unexpected path, 2 cells inconclusive · 4 environments, ")
    assert lines[2:5] == [
        "|  | to dev | to test | to staging | to prod |",
        "| --- | --- | --- | --- | --- |",
        "| **from dev** | · | ■ 100% | ■ 100% | ✗ 1 path |",
    ]
    text = "\n".join(lines)
    assert sum(line.startswith("| ---") for line in lines) == 1
    assert "- ✗ **dev can reach prod's model registry**: dev-1 → 10.30.0.21 tcp/5000 · reachable (replied)" in text
    assert "  - to do: take out what lets 10.10.0.10 reach 10.30.0.21 tcp/5000 in the firewall, or declare" in text
    assert "(`topology.yaml:41-46`)" in text
    assert "- ? test → prod 10.30.0.21 tcp/22,53 · unknown: silent-inside · install an agent on that host" in text


def test_markdown_says_that_probing_was_stopped() -> None:
    line = markdown({**Estate().run_body(), "stopped": "change *freeze*"}, "t.yaml").splitlines()[0]
    assert line.endswith(r" · all probing was stopped meanwhile: change \*freeze\*")


def test_markdown_of_a_run_without_findings_is_short() -> None:
    assert len(markdown(Estate(leak=False).run_body(), "t.yaml").splitlines()) == 8


def test_many_environments_are_a_list_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.formats.markdown.WIDEST", 3)
    lines = markdown(Estate(undecided=True).run_body(), "t.yaml").splitlines()
    assert lines[4:7] == [
        "| dev → prod | ✗ 1 path |",
        "| test → prod | ? 98.2% |",
        "| 10 other pairs | all as declared |",
    ]


def test_what_comes_from_elsewhere_is_no_mark_up() -> None:
    assert escaped("<b>|`x`| @all\n# [a](http://b)\x1b[2J") == (r"\<b\>\|\`x\`\| &#64;all \# \[a\](http://b) \[2J")
    text = markdown(held(KNOWN.replace("data-eng", "'@all <img src=x> | x'")), "t.yaml")
    assert "<img" not in re.sub(r"\\<", "", text)
    assert "@all" not in text


# -- the baseline ---------------------------------------------------------------------------------------------------


def test_what_is_known_fails_nothing_and_stays_shown(serving: Serving) -> None:
    run = serving()
    known = run.file("known.yaml", KNOWN)
    assert run().exit_code == 1
    result = run("--baseline", known)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("PASS  nothing fails, 1 cell known to fail · ")
    assert f"~ dev → prod.model-registry tcp/5000 is known ({run.fake.estate.book.findings[0].id})" in result.stdout
    assert f"data-eng, until 2027-01-31, {known}:3" in result.stdout
    body = json.loads(run("--baseline", known, "-o", "json").stdout)
    assert (body["result"], body["summary"]["fail"], body["summary"]["baselined"]) == ("pass", 0, 1)
    [finding] = body["findings"]
    assert (finding["result"], finding["baseline"]["state"], finding["baseline"]["owner"]) == (
        "baselined",
        "known",
        "data-eng",
    )


def test_what_is_not_proven_is_not_hidden_by_a_baseline(serving: Serving) -> None:
    run = serving(undecided=True)
    known = run.file("known.yaml", KNOWN)
    assert run("--baseline", known).exit_code == 3
    assert run("--baseline", known, "--allow-inconclusive").exit_code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 1\nknown: []\n", "dev → prod.model-registry tcp/5000 is not in the baseline"),
        (KNOWN.replace("2027-01-31", "2026-11-23"), "its entry of data-eng ended on 2026-11-23"),
        (KNOWN.replace("from: dev", "from: test"), "is not in the baseline"),
        (KNOWN.replace("    to: prod\n", "    to: prod\n    agents: [dev-2]\n"), "is not in the baseline"),
    ],
)
def test_what_is_new_or_has_ended_fails(serving: Serving, text: str, said: str) -> None:
    run = serving()
    result = run("--baseline", run.file("known.yaml", text))
    assert result.exit_code == 1
    assert result.stdout.startswith("FAIL  1 unexpected path · ")
    assert said in " ".join(result.stdout.split())


def test_a_hole_that_grew_says_where() -> None:
    estate = Estate()
    body = estate.run_body()
    [finding] = body["result"]["findings"]
    [cell] = body["failing"]
    finding["ports"] = cell["ports"] = "5000-5001"
    body["result"]["summary"]["fail"] = 2
    after = baseline.hold(body, parse_baseline(KNOWN.encode(), "known.yaml"))
    assert after["result"]["result"] == "fail"
    assert after["result"]["summary"]["fail"] == 1
    said = baseline.of_finding(after["result"]["findings"][0])
    assert said.endswith("has grown: known.yaml:3 (data-eng) does not name dev-1 → 10.30.0.21 tcp/5001")


def test_a_failing_cell_of_no_finding_needs_its_entry_too() -> None:
    body = Estate().run_body()
    body["failing"].append({**body["failing"][0], "finding": None, "address": "10.30.0.22"})
    body["result"]["summary"]["fail"] = 2
    assert baseline.hold(body, parse_baseline(KNOWN.encode()))["result"]["result"] == "fail"


def test_junit_skips_what_is_known_and_says_whose_it_is() -> None:
    from cli.formats.junit import junit

    def cases(body: dict[str, Any]) -> dict[str, list[ET.Element]]:
        root = ET.fromstring(junit(body))
        return {tag: root.findall(f".//testcase/{tag}") for tag in ("failure", "skipped", "error")}

    known = cases(held(KNOWN))
    assert not known["failure"]
    assert "data-eng, until 2027-01-31, known.yaml:3" in str(known["skipped"][0].get("message"))
    [failure] = cases(held(KNOWN.replace("2027", "2026")))["failure"]
    assert str(failure.text).startswith("baseline: dev → prod.model-registry tcp/5000: its entry of data-eng ended on")


def test_a_written_baseline_holds_and_keeps_what_lasts(serving: Serving) -> None:
    run = serving()
    path = run.file("known.yaml")
    asked = ["--write-baseline", path, "--owner", "ada", "--until", "7d", "--reason", "moves next week"]
    result = run(*asked)
    assert result.exit_code == 0, result.output
    assert "known.yaml: 1 entry written" in result.stderr
    first = Path(path).read_text()
    for line in ("  owner: ada", "  expires: '2026-11-30T12:06:07Z'", "  agents: [dev-1]", "  ports: [tcp/5000]"):
        assert line in first.splitlines()
    assert run("--baseline", path).exit_code == 0
    # An entry that lasts stays its owner's; one that has ended is written anew.
    assert run("--write-baseline", path, "--owner", "bob").exit_code == 0
    assert Path(path).read_text() == first
    Path(path).write_text(first.replace("2026-11-30", "2026-11-01"))
    assert run("--write-baseline", path, "--owner", "bob", "--until", "2027-03-01T00:00:00Z").exit_code == 0
    after = Path(path).read_text()
    assert "owner: bob" in after
    assert "ada" not in after
    assert "2027-03-01T00:00:00Z" in after


def test_what_makes_no_baseline_leaves_the_file_as_it_was(serving: Serving) -> None:
    run = serving()
    path = run.file("known.yaml", "version: 1\nknown: []\n")
    result = run("--write-baseline", path, "--owner", "a\x1bda")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "holds the control character U+001B; take it out" in result.stderr
    assert Path(path).read_text() == "version: 1\nknown: []\n"


def test_entries_name_exactly_the_cells_that_fail() -> None:
    body = Estate().run_body()
    [cell] = body["failing"]
    body["failing"] = [
        {**cell, "agent": agent, "address": address}
        for agent, address in (("dev-1", "10.30.0.21"), ("dev-1", "10.30.0.22"), ("dev-2", "10.30.0.21"))
    ]
    entries = baseline.fresh(
        parse_baseline(b"version: 1\nknown:\n"), body, owner="ada", expires=baseline.finished(body), reason=""
    )
    assert [(entry.agents, entry.addresses, str(entry.ports)) for entry in entries] == [
        (("dev-1",), ("10.30.0.21", "10.30.0.22"), "tcp/5000"),
        (("dev-2",), ("10.30.0.21",), "tcp/5000"),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--write-baseline", "b.yaml"], "needs --owner NAME"),
        (["--owner", "ada"], "--owner is for --write-baseline"),
        (["--write-baseline", "b.yaml", "--owner", "ada", "--until", "soon"], "--until: 'soon' is not a time"),
        (["--write-baseline", "b.yaml", "--baseline", "a.yaml", "--owner", "a"], "give one of them"),
        (["--report", "xml=a"], "'xml=a' is not FORMAT=FILE"),
        (["--report", "junit="], "'junit=' is not FORMAT=FILE"),
        (["--report", "junit=a", "--report", "json=a"], "names a twice"),
        (["--report", "junit=none/a.xml"], "there is no directory none"),
        (["--max-age", "10"], "'10' is not a duration"),
        (["--baseline", "none.yaml"], "cannot be read: no such file or directory"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_is_probed(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    run = serving()
    monkeypatch.chdir(run.directory)
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert run.fake.posted == []


# -- the run --------------------------------------------------------------------------------------------------------


def test_several_reports_come_from_one_run(serving: Serving) -> None:
    run = serving()
    files = {form: run.file(f"segwatch.{form}") for form in ("junit", "sarif", "markdown", "json")}
    result = run(*(part for form, path in files.items() for part in ("--report", f"{form}={path}")))
    assert result.exit_code == 1
    assert result.stdout.startswith("FAIL")
    assert [path for path, _ in run.fake.posted] == ["verify"]
    SARIF.validate(json.loads(Path(files["sarif"]).read_text()))
    ET.parse(files["junit"])
    assert json.loads(Path(files["json"]).read_text())["result"] == "fail"
    assert Path(files["markdown"]).read_text().startswith("✗ **segwatch FAIL**")
    assert sorted(path.name for path in run.directory.iterdir() if path.name != "state") == sorted(
        Path(path).name for path in files.values()
    ), "no temporary file is left"


def test_the_age_that_is_asked_for_reaches_the_coordinator(serving: Serving) -> None:
    run = serving()
    run("--max-age", "10m", "--from", "dev")
    assert run.fake.posted == [("verify", {"sweep": False, "from": "dev", "to": None, "max_age_s": 600.0})]


def test_a_run_is_cut_off_after_its_time(serving: Serving) -> None:
    run = serving(waits=10_000, leak=False)
    result = run("--timeout", "300ms")
    assert ("runs/run-1/end", {}) in run.fake.posted
    assert result.exit_code == 0, "the sample has all its results all the same"
    assert "what it has not tried is not run" in result.stderr
    assert "cut off before it was through" in " ".join(result.stdout.split())


def test_a_run_that_does_not_end_is_given_up() -> None:
    now = [100.0]
    limit = following.Limit(10.0, lambda: now[0])
    assert not limit.due()
    now[0] += 10
    assert limit.due()
    assert not limit.due(), "once"
    assert limit.cut
    assert not limit.over()
    now[0] += following.GRACE_S
    assert limit.over()
    unlimited = following.Limit(None, lambda: now[0])
    assert not unlimited.due()
    assert not unlimited.over()


def test_a_run_that_failed_says_why(serving: Serving) -> None:
    run = serving()
    run.fake.error = "the run failed: no space left"
    result = run()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the run failed: no space left" in result.stderr


def test_another_topology_than_the_one_in_force_is_refused(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "RELOAD_WAIT_S", 0.0)
    run = serving()
    result = run("-f", str(ROOT / "topology.yaml"))
    assert result.exit_code == 2
    assert "the coordinator has another topology in force" in result.stderr
    assert run.fake.posted == []


def test_reports_name_the_topology_as_the_checkout_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert uri_of(Path("infra/top ology.yaml"), "/etc/x.yaml") == "infra/top%20ology.yaml"
    assert uri_of(tmp_path / "a" / "t.yaml", "x") == "a/t.yaml"
    assert uri_of(None, "/etc/segwatch/topology.yaml") == "topology.yaml"
    assert uri_of(None, "topology.yaml") == "topology.yaml"
