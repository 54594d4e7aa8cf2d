"""The action for other repositories: well formed, no input idle, and its commands run as they stand."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cli.main import cli
from coordinator.topology.load import load_topology
from tests.support.fake_api import FakeCoordinator, served_web
from tests.support.pages import yaml_of
from tests.support.paths import ROOT
from tests.support.pipeline import KNOWN, mild
from tests.support.sample import Estate

CI = ROOT / "deploy" / "ci"
ACTION = yaml.safe_load((CI / "action.yml").read_text())
CHECKED, VERIFIED, SHOWN = ACTION["runs"]["steps"]
INPUT = re.compile(r"\$\{\{ inputs\.(\w+) \}\}")
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]  # `shell: bash` of a runner
REQUIRED = {"coordinator": "https://192.0.2.1", "token": "secret"}


def of(step: dict[str, Any], inputs: dict[str, str]) -> dict[str, str]:
    """The environment that a step gives its command."""
    values = {**{name: one.get("default") for name, one in ACTION["inputs"].items()}, **inputs}
    return {name: INPUT.sub(lambda found: str(values[found[1]]), text) for name, text in step.get("env", {}).items()}


def asked(arguments: list[str], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `segwatch verify` understands, without doing it."""
    command = cli.get_command(click.Context(cli), "verify")
    assert command is not None
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return command.make_context("verify", arguments).params


def test_it_is_an_action_that_uses_every_input_and_puts_none_into_a_command() -> None:
    assert ACTION["runs"]["using"] == "composite"
    assert all(step["shell"] == "bash" for step in (CHECKED, VERIFIED, SHOWN)), "a composite action must name it"
    assert all("${{" not in step["run"] for step in (CHECKED, VERIFIED, SHOWN))
    used = set(INPUT.findall(str([CHECKED["env"], VERIFIED["env"]])))
    assert used == set(ACTION["inputs"])
    for name, one in ACTION["inputs"].items():
        assert set(one) == {"description", "required" if name in REQUIRED else "default"}, name


def test_the_page_uses_it_as_it_is() -> None:
    [job] = yaml_of("pipeline.md", "jobs")["jobs"].values()
    [step] = [step for step in job["steps"] if "segwatch" in step.get("uses", "")]
    assert step["uses"] == "OWNER/segwatch/deploy/ci@REF"
    assert set(REQUIRED) < set(step["with"]) < set(ACTION["inputs"])


def test_it_runs_what_the_workflow_to_copy_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    [job] = yaml.safe_load((CI / "github-actions.yml").read_text())["jobs"].values()
    check, verify, show = [step["run"] for step in job["steps"] if "run" in step]
    environment = of(CHECKED, REQUIRED)
    assert CHECKED["run"].replace('-- "$SEGWATCH_VERIFY_TOPOLOGY"', environment["SEGWATCH_VERIFY_TOPOLOGY"]) == check
    assert SHOWN["run"] == show
    given = shlex.split(verify.replace("\\\n", " "))
    assert given[:2] == VERIFIED["run"].split() == ["segwatch", "verify"]
    of_the_file = asked(
        given[2:], {"SEGWATCH_COORDINATOR": REQUIRED["coordinator"], "SEGWATCH_TOKEN": "secret"}, monkeypatch
    )
    assert of_the_file["baseline"] == Path("segwatch-baseline.yaml")
    more = {"baseline": "segwatch-baseline.yaml"}
    assert asked([], of(VERIFIED, {**REQUIRED, **more}), monkeypatch) == of_the_file
    assert asked([], of(VERIFIED, REQUIRED), monkeypatch) == {**of_the_file, "baseline": None}
    more |= {"severity": "high", "sweep": "true"}
    assert asked([], of(VERIFIED, {**REQUIRED, **more}), monkeypatch) == {
        **of_the_file,
        "severity": "high",
        "sweep": True,
    }


@dataclass
class Runner:
    """A checkout, on a host that reaches a coordinator which serves the sample."""

    directory: Path
    tokens: list[str] = field(default_factory=list)

    def __call__(self, **inputs: str) -> tuple[list[int], str]:
        """The exit codes of its steps, and what they said; a step after one that failed runs where it says so."""
        estate = Estate(environments=mild())
        shutil.copy(ROOT / "topology.yaml", self.directory)
        held = load_topology(self.directory / "topology.yaml")
        estate.topology = replace(estate.topology, digest=held.digest)
        codes, said = list[int](), ""
        with served_web(FakeCoordinator(estate, 0), self.tokens) as url:
            for step in (CHECKED, VERIFIED, SHOWN):
                if any(codes) and step.get("if") != "always()":
                    continue
                environment = of(step, {"coordinator": url, "token": "secret", **inputs})
                done = subprocess.run(
                    [*BASH, step["run"]],
                    cwd=self.directory,
                    capture_output=True,
                    text=True,
                    check=False,
                    env={
                        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                        "GITHUB_STEP_SUMMARY": str(self.directory / "summary"),
                        **environment,
                    },
                )
                codes.append(done.returncode)
                said += done.stdout + done.stderr
        return codes, said


def test_its_commands_run_as_they_stand(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    codes, said = runner()
    assert codes == [0, 1, 0], said
    assert set(runner.tokens) == {"Bearer secret"}
    assert "list of processes" not in said
    for name in ("xml", "sarif", "md", "json"):
        assert (tmp_path / f"segwatch.{name}").stat().st_size
    assert (tmp_path / "summary").read_text().startswith("✗ **segwatch FAIL**")
    (tmp_path / "known.yaml").write_text(KNOWN)
    codes, said = runner(baseline="known.yaml", report="json=only.json")
    assert codes == [0, 0, 0], said
    assert (tmp_path / "only.json").exists()
    assert runner(severity="high")[0] == [0, 0, 0]


def test_what_an_input_says_is_never_run(tmp_path: Path) -> None:
    for name in ("baseline", "severity", "topology", "report"):
        codes, _ = Runner(tmp_path)(**{name: "$(touch ran); touch ran #"})
        assert 2 in codes
    assert not (tmp_path / "ran").exists()
