"""`topology check` of several files."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from cli.main import cli
from tests.support.paths import ROOT

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
