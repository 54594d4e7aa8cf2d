"""Whatever agents, hosts and people said: no output of any verb moves a cursor, turns or hides text, or has a line of theirs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from cli.client import Client
from cli.errors import Problem
from cli.main import cli
from cli.options import Endpoint
from coordinator.api.responses.estate import Coverage
from coordinator.api.responses.report import Report
from coordinator.api.responses.status import Status
from tests.support.evil_texts import BEGINS, EVIL, Evil, harms
from tests.support.fake_api import served
from tests.support.sample import Estate

CELL = ("--from", "dev-1", "--to", "10.30.0.21", "--port", "tcp/5000")
SHOWN = [
    ["matrix"],
    ["matrix", "--cells"],
    ["findings"],
    ["history"],
    ["coverage"],
    ["explain", *CELL],
    ["verify"],
    ["verify", "--cells"],
    ["verify", "-o", "junit"],
    ["verify", "-o", "sarif"],
    ["verify", "-o", "markdown"],
    ["report", "-o", "html"],
    ["report", "-o", "markdown"],
    ["report", "-o", "csv"],
    ["topology", "draft"],
]
JSON = [
    ["matrix", "--cells", "-o", "json"],
    ["findings", "-o", "json"],
    ["history", "-o", "json"],
    ["coverage", "-o", "json"],
    ["explain", *CELL, "-o", "json"],
    ["verify", "-o", "json"],
    ["report", "-o", "json"],
]


@pytest.fixture
def evil(tmp_path: Path) -> Iterator[Evil]:
    estate = Estate(undecided=True)
    with served(Evil(estate, 0), tmp_path) as fake:
        assert isinstance(fake, Evil)
        yield fake


def run(directory: Path, *arguments: str, **more: Any) -> Result:
    return CliRunner(**more).invoke(cli, [*arguments, "--state-dir", str(directory)])


@pytest.mark.parametrize("arguments", SHOWN, ids=" ".join)
def test_nothing_of_it_acts_on_who_reads(evil: Evil, tmp_path: Path, arguments: list[str]) -> None:
    result = run(tmp_path, *arguments)
    assert result.exit_code in {0, 1}, result.output
    assert evil.said, "an answer had texts"
    assert harms(result.stdout) == []
    assert harms(result.stderr) == []


@pytest.mark.parametrize(
    "arguments", [["matrix", "--cells"], ["explain", *CELL], ["verify"], ["findings"]], ids=" ".join
)
def test_nor_where_colours_are_shown(evil: Evil, tmp_path: Path, arguments: list[str]) -> None:
    """A green tick that others wrote is not green."""
    result = run(tmp_path, *arguments, env={"FORCE_COLOR": "1"})
    assert "\x1b[" in result.stdout
    assert not re.search(f"{BEGINS} ?\x1b", result.stdout)
    assert harms(re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)) == []


@pytest.mark.parametrize("arguments", JSON, ids=" ".join)
def test_json_escapes_it(evil: Evil, tmp_path: Path, arguments: list[str]) -> None:
    result = run(tmp_path, *arguments)
    assert result.exit_code in {0, 1}, result.output
    assert harms(result.stdout) == []
    json.loads(result.stdout)


def test_an_answer_as_it_is_holds_it(evil: Evil, tmp_path: Path) -> None:
    """So that the tests above are of something: what a program reads is what was said."""
    body = json.loads(run(tmp_path, "explain", *CELL, "-o", "json").stdout)
    assert any(EVIL in text for text in _texts(body))


@pytest.mark.parametrize(("path", "kind"), [("status", Status), ("coverage", Coverage), ("report", Report)])
def test_what_the_dashboard_shows_has_it_no_more(evil: Evil, tmp_path: Path, path: str, kind: type[Any]) -> None:
    """Agents are shown there alone. Whatever shows an answer has got it from the client."""
    shown = msgspec.to_builtins(Client(Endpoint(state_dir=tmp_path)).get(path, kind))
    texts = list(_texts(shown))
    assert any(BEGINS in text for text in texts)
    assert not [text for text in texts if "\n" in text or harms(text)]


@pytest.mark.usefixtures("evil")
def test_why_a_request_failed_is_said_without_it(tmp_path: Path) -> None:
    """The dashboard shows the lines of a problem itself."""
    with pytest.raises(Problem) as raised:
        Client(Endpoint(state_dir=tmp_path)).get("explain", object, finding=f"F-{EVIL}")
    assert "no finding F-·[2J" in raised.value.lines[0]
    assert not any(char in line for line in raised.value.lines for char in "\x1b\x07\u202e\u200b\u3164")


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list() | tuple():
            for one in value:
                yield from _texts(one)
        case dict():
            for one in value.values():
                yield from _texts(one)
