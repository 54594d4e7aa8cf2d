"""`segwatch verify` as a pipeline runs it, against a coordinator that serves the sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cli import holding
from cli.main import cli
from coordinator.api.responses.runs import FinishedRun
from coordinator.topology.baseline import parse_baseline
from reachability.topology import Environment
from reachability.vocabulary import Sensitivity
from tests.support.fake_api import FakeCoordinator
from tests.support.sample import Estate, topology

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


NOTHING = "version: 1\nknown: []\n"


def mild() -> dict[str, Environment]:
    """The sample's environments with a prod that is no more than medium: so is its leak."""
    found = topology().environments
    return {**found, "prod": replace(found["prod"], sensitivity=Sensitivity.MEDIUM)}


class Pipeline:
    """Runs `segwatch verify` against a coordinator that serves the sample, in a directory of its own."""

    def __init__(self, directory: Path, fake: FakeCoordinator) -> None:
        self.directory, self.fake = directory, fake

    def __call__(self, *arguments: str, **environment: str) -> Result:
        command = ["verify", "--state-dir", str(self.directory / "state"), *arguments]
        return CliRunner(env=environment).invoke(cli, command)

    def file(self, name: str, text: str = "") -> str:
        path = self.directory / name
        if text:
            path.write_text(text)
        return str(path)


Serving = Callable[..., Pipeline]


def held(text: str, severity: str | None = None, **estate: Any) -> FinishedRun:
    return holding.hold(Estate(**estate).run_body(), parse_baseline(text.encode(), "known.yaml"), severity)
