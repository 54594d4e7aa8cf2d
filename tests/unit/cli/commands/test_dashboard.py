"""`segwatch dashboard --web`: the page's address, and a browser where there is one."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from cli.commands.dashboard import command
from coordinator.api.responses.status import Status
from tests.support.fake_api import FakeCoordinator, served
from tests.support.sample import Estate

URL = "http://127.0.0.1:8600"


class Serving(Estate):
    def __init__(self, web: str | None) -> None:
        super().__init__()
        self._web = web

    def status(self, *arguments: object, **more: object) -> Status:
        return msgspec.structs.replace(super().status(), web=self._web)


@pytest.mark.parametrize("code", [0, 1])
def test_it_prints_the_address_and_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    opened: list[str] = []

    def launch(url: str) -> int:
        opened.append(url)
        return code

    monkeypatch.setattr(click, "launch", launch)
    with served(FakeCoordinator(Serving(URL)), tmp_path):
        done = CliRunner().invoke(command, ["--web", "--state-dir", str(tmp_path)])
    assert (done.exit_code, done.stdout, opened) == (0, f"{URL}\n", [URL])
    assert ("No browser was found here" in done.stderr) == bool(code)


def test_where_there_is_no_page_it_says_how_to_have_one(tmp_path: Path) -> None:
    with served(FakeCoordinator(Serving(None)), tmp_path):
        done = CliRunner().invoke(command, ["--web", "--state-dir", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "this coordinator serves no page" in done.stderr
    assert "--web 127.0.0.1:8600" in done.stderr
