"""`segwatch resume`, as a person asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner

from cli.commands.resume import command
from coordinator.api.responses.runs import Stopped as Answered
from tests.support.fake_api import FakeCoordinator, served
from tests.support.sample import Estate


class Stopped(FakeCoordinator):
    """One that is stopped until it is resumed."""

    stopped: str | None = "maintenance"

    def get(self, path: str, query: dict[str, str]) -> Any:
        return msgspec.structs.replace(super().get(path, query), stopped=self.stopped)

    def post(self, path: str, body: Any) -> Any:
        self.posted.append((path, body))
        self.stopped = None
        return Answered(stopped=None)


def test_it_resumes_and_says_whether_there_was_anything_to(tmp_path: Path) -> None:
    with served(Stopped(Estate()), tmp_path) as fake:
        said = [
            CliRunner().invoke(command, ["--by", "otto", "--state-dir", str(tmp_path)], catch_exceptions=False).output
            for _ in range(2)
        ]
    assert said == ["Probing goes on.\n", "Nothing was stopped.\n"]
    assert fake.posted == [("resume", {"by": "otto"})] * 2
