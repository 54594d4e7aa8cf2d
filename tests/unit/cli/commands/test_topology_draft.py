"""`topology draft` prints a topology, or writes a new file; it overwrites nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import cli
from tests.support.fake_api import FakeCoordinator, served
from tests.support.sample import Estate


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    with served(FakeCoordinator(Estate()), tmp_path / "state"):
        yield tmp_path / "state"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_it_goes_to_standard_output_and_passes_the_check(state: Path, tmp_path: Path) -> None:
    result = invoke("topology", "draft", "--state-dir", state)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("# A draft by `segwatch topology draft` of 2026-11-23 12:06:07 UTC")
    assert "entries to review. What it would change: segwatch verify --what-if FILE" in result.stderr
    file = tmp_path / "draft.yaml"
    file.write_text(result.stdout)
    checked = invoke("topology", "check", file, "-o", "json")
    assert (checked.exit_code, json.loads(checked.stdout)["errors"]) == (0, [])
    judged = invoke("verify", "--state-dir", state, "--what-if", file, "--allow-inconclusive")
    assert judged.exit_code == 0, judged.output
    assert invoke("topology", "draft", "--state-dir", state, "-q").stderr == ""


def test_a_new_file_is_written_and_one_that_is_there_left_as_it_is(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "draft.yaml"
    result = invoke("topology", "draft", "--state-dir", state, "--out", file)
    assert (result.exit_code, result.stdout) == (0, "")
    assert file.read_text().startswith("# A draft by")
    assert file.stat().st_mode & 0o600 == 0o600
    file.write_text("mine")
    again = invoke("topology", "draft", "--state-dir", state, "--out", file)
    assert again.exit_code == 2
    assert "exists already, and is left as it is" in again.stderr
    assert file.read_text() == "mine"
