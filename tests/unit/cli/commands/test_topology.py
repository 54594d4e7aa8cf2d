"""`topology check` of several files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import cli
from tests.support.paths import ROOT
from tests.support.topologies import large_file

GOOD = str(ROOT / "topology.yaml")


def test_of_one_file_the_json_is_one_object_of_several_a_list(tmp_path: Path) -> None:
    bad = tmp_path / "topology.yaml"
    bad.write_text("version: 2\n")
    one = CliRunner().invoke(cli, ["topology", "check", GOOD, "-o", "json"])
    assert (one.exit_code, json.loads(one.stdout)["file"]) == (0, GOOD)
    both = CliRunner().invoke(cli, ["topology", "check", GOOD, str(bad), "-o", "json"])
    good, wrong = json.loads(both.stdout)
    assert both.exit_code == 2
    assert good == json.loads(one.stdout)
    assert set(wrong) == {"file", "errors", "warnings"}
    assert wrong["errors"]


def test_what_is_good_is_said_beside_what_is_not(tmp_path: Path) -> None:
    bad = tmp_path / "topology.yaml"
    bad.write_text("version: 2\n")
    both = CliRunner().invoke(cli, ["topology", "check", str(bad), GOOD])
    assert both.exit_code == 2
    assert f"✓ {GOOD}: 4 environments" in both.stdout
    assert both.stderr.startswith(f"{bad}:1:")


def test_what_hangs_on_the_coordinator_alone_is_said_once_and_is_no_warning(tmp_path: Path) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text(
        "version: 1\nenvironments:\n"
        "  dev: {networks: [10.10.0.0/24], agents: {dev-1: {addresses: [10.10.0.10]}}}\n"
        "  prod: {networks: [10.30.0.0/24], agents: {prod-1: {addresses: [10.30.0.10]}}}\n"
        "paths:\n  - {name: p, from: dev, to: prod, expect: allowed, owner: me, justification: needed}\n"
    )
    said = json.loads(CliRunner().invoke(cli, ["topology", "check", str(file), "-o", "json"]).stdout)
    assert said["warnings"] == []
    [note] = said["notes"]
    assert note.startswith("no path shows that UDP and ICMP packets get out of prod (")
    shown = CliRunner().invoke(cli, ["topology", "check", str(file)]).stdout
    assert "\n· no path shows that UDP and ICMP packets get out of prod (" in shown
    planned = CliRunner().invoke(cli, ["plan", "-f", str(file)]).stdout
    assert "\n· no path shows that UDP and ICMP packets get out of prod (" in planned
    assert "no path shows" not in CliRunner().invoke(cli, ["plan", "-f", str(file), "--agent", "dev-1"]).stdout
    [one] = json.loads(CliRunner().invoke(cli, ["plan", "-f", str(file), "-o", "json"]).stdout)["uncontrolled"]
    assert (one["environment"], one["protocols"]) == ("prod", ["udp", "icmp"])


@pytest.mark.parametrize(
    "command",
    [
        ["topology", "check"],
        ["plan", "-f"],
        ["coordinator", "--pki", "p", "--listen", "127.0.0.1:1", "--state-dir", "s", "-f"],
    ],
)
def test_a_plan_beyond_the_most_is_refused_with_its_sum(tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "topology.yaml"
    file.write_bytes(large_file(1000, 1001))
    result = CliRunner().invoke(cli, [*command, str(file)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{file}: its plan has 3,003,000 targets, of 1,000 agents " in result.stderr
