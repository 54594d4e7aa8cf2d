"""`verify` in a pipeline: its reports, its limits and its exit codes."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cli.commands import verify
from cli.formats.table import FORMATS
from tests.support.paths import ROOT
from tests.support.pipeline import Serving
from tests.support.sarif import SARIF


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
        (["--in-blackout"], "--in-blackout needs --reason TEXT"),
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


def test_several_reports_come_from_one_run(serving: Serving) -> None:
    run = serving()
    files = {form: run.file(f"segwatch.{form}") for form in FORMATS}
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


def test_a_report_that_cannot_be_written_takes_neither_the_others_nor_the_verdict(serving: Serving) -> None:
    """What can be known before is refused before; a disk is full when it is."""
    run = serving()
    other = run.file("segwatch.json")
    result = run("--report", "junit=/dev/full", "--report", f"json={other}")
    assert result.exit_code == 1
    assert "segwatch verify: /dev/full cannot be written: No space left on device" in result.stderr
    assert result.stdout.startswith("FAIL")
    assert json.loads(Path(other).read_text())["result"] == "fail"


def test_the_age_that_is_asked_for_reaches_the_coordinator(serving: Serving) -> None:
    run = serving()
    run("--max-age", "10m", "--from", "dev")
    assert run.fake.posted == [("verify", {"sweep": False, "from": "dev", "to": None, "max_age_s": 600.0})]


def test_who_has_it_probe_in_a_blackout_and_why_reaches_the_coordinator(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "olga")
    run = serving()
    run("--in-blackout", "--reason", "the audit is today")
    [(_, asked)] = run.fake.posted
    assert (asked["in_blackout"], asked["by"]) == ("the audit is today", "olga")


def test_a_run_is_cut_off_after_its_time(serving: Serving) -> None:
    run = serving(waits=10_000, leak=False)
    result = run("--timeout", "300ms")
    assert ("runs/run-1/end", {}) in run.fake.posted
    assert result.exit_code == 0, "the sample has all its results all the same"
    assert "what it has not tried is not run" in result.stderr
    assert "cut off before it was through" in " ".join(result.stdout.split())


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
    assert "the coordinator has a topology in force that is not" in result.stderr
    assert run.fake.posted == []
