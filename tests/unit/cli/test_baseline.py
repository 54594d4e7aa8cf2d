"""`verify` with a baseline: what is known, what has grown or ended, and how one is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from cli import baseline, holding
from cli.errors import Problem
from coordinator.api.responses.runs import FinishedRun
from coordinator.topology.baseline import parse_baseline
from tests.support.answers import as_struct, json_of
from tests.support.pipeline import KNOWN, Serving
from tests.support.sample import Estate


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


def test_an_environment_that_the_topology_does_not_have_is_named_before_anything_is_probed(serving: Serving) -> None:
    run = serving()
    known = run.file("known.yaml", KNOWN.replace("to: prod", "to: prdo").replace("from: dev", "from: lab"))
    for option in (("--baseline", known), ("--write-baseline", known, "--owner", "ada")):
        result = run(*option)
        assert result.exit_code == 2
        assert "the baseline has 2 errors:" in result.output
        assert f"{known}:3:5: topology.yaml has no environment 'lab'; take the entry out" in result.output
        assert f"{known}:3:5: topology.yaml has no environment 'prdo'; did you mean 'prod'?" in result.output
    assert run.fake.posted == []


def test_a_hole_that_grew_says_where() -> None:
    body = json_of(Estate().run_body())
    [finding] = body["result"]["findings"]
    [cell] = body["failing"]
    finding["ports"] = cell["ports"] = "5000-5001"
    body["result"]["summary"]["fail"] = 2
    after = holding.hold(as_struct(body, FinishedRun), parse_baseline(KNOWN.encode(), "known.yaml")).result
    assert (after.result, after.summary.fail) == ("fail", 1)
    said = holding.of_finding(after.findings[0])
    assert said.endswith("has grown: known.yaml:3 (data-eng) does not name dev-1 → 10.30.0.21 tcp/5001")


def test_a_failing_cell_of_no_finding_needs_its_entry_too() -> None:
    body = json_of(Estate().run_body())
    body["failing"].append({**body["failing"][0], "finding": None, "address": "10.30.0.22"})
    body["result"]["summary"]["fail"] = 2
    assert holding.hold(as_struct(body, FinishedRun), parse_baseline(KNOWN.encode())).result.result == "fail"


def test_a_failing_cell_of_a_newer_coordinator_is_not_held_against_a_baseline() -> None:
    body = Estate().run_body()
    newer = replace(body, failing=(replace(body.failing[0], kind="kind-of-later"),))
    with pytest.raises(Problem, match="'kind-of-later' is not a valid Kind"):
        holding.hold(newer, parse_baseline(KNOWN.encode()))


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
    [cell] = body.failing
    places = (("dev-1", "10.30.0.21"), ("dev-1", "10.30.0.22"), ("dev-2", "10.30.0.21"))
    body = replace(body, failing=tuple(replace(cell, agent=agent, address=address) for agent, address in places))
    entries = baseline.fresh(
        parse_baseline(b"version: 1\nknown:\n"), body, owner="ada", expires=baseline.finished(body), reason=""
    )
    assert [(entry.agents, entry.addresses, str(entry.ports)) for entry in entries] == [
        (("dev-1",), ("10.30.0.21", "10.30.0.22"), "tcp/5000"),
        (("dev-2",), ("10.30.0.21",), "tcp/5000"),
    ]
