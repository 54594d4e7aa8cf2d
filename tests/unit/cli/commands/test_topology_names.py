"""`topology check` holds a file against what the agents of a running coordinator see its names at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import cli
from coordinator.api.responses.names import Name, NameAt, Names
from tests.support.coordinator import TOPOLOGY
from tests.support.fake_api import FakeCoordinator, served
from tests.support.sample import Estate

DB = "db.prod.internal"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "topology.yaml").write_text(TOPOLOGY)
    return tmp_path / "topology.yaml"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    coordinator = FakeCoordinator(Estate())
    dev = NameAt(agent="dev-1", environment="dev", addresses=("10.30.0.21",), wildcard="*.prod.internal")
    prod = NameAt(agent="prod-1", environment="prod", addresses=(), problem="no such name")
    coordinator.names = Names(names=(Name(name=DB, seen=(dev, prod)),))
    with served(coordinator, tmp_path / "state"):
        yield tmp_path / "state"


def check(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["topology", "check", "-o", "json", *map(str, arguments)])


def test_a_name_that_one_environment_resolves_is_a_doubt_at_its_line(file: Path, state: Path) -> None:
    result = check(file, "--state-dir", state)
    assert result.exit_code == 0, result.output
    told = [warning for warning in json.loads(result.stdout)["warnings"] if DB in warning]
    assert len([one for one in told if "resolves in 'dev' alone" in one]) == 1
    assert len([one for one in told if "by the wildcard *.prod.internal" in one]) == 1
    assert all(one.startswith(f"{file}:7:") for one in told if "alone" in one or "wildcard" in one)


def test_where_none_is_named_nobody_is_asked(file: Path) -> None:
    result = check(file)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "alone" not in result.stdout


def test_a_coordinator_that_is_not_there_costs_the_file_nothing(file: Path, tmp_path: Path) -> None:
    result = check(file, "--state-dir", tmp_path / "nowhere")
    assert result.exit_code == 0
    assert result.stderr.startswith("names were not held against what agents see: no state directory")
    assert json.loads(result.stdout)["errors"] == []
