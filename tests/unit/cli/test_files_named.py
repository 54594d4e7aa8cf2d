"""Every file and directory that a person names on a command line: what is wrong with it is said, and the exit code is 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from cli.main import cli
from tests.support.paths import ROOT

TOPOLOGY = str(ROOT / "topology.yaml")
F, OUT = "{file}", "{tmp}/out"  # what is tried; a place where nothing is yet
PKI, STATE = "{pki}", "{tmp}/state"
BROKER = ("--broker", "mqtts://127.0.0.1:1")
API = ("--coordinator", "http://127.0.0.1:1", "--token-file", F)

# Every option and argument that reads a file, as (verb, parameter), and a command line with it.
READ: dict[tuple[str, str], tuple[str, ...]] = {
    ("topology check", "files"): (F,),
    ("topology explain", "file"): (F, "--from", "dev", "--to", "prod", "--port", "tcp/22"),
    ("plan", "topology"): ("-f", F),
    ("pki agent", "topology"): ("dev-1", "--dir", PKI, "-f", F, *BROKER, "--out", OUT),
    ("pki broker", "topology"): ("nats", "--dir", PKI, "-f", F, "--out", OUT, "--listen", "127.0.0.1:1"),
    ("pki init", "topology"): ("--dir", OUT, "-f", F),
    ("pki renew", "topology"): ("dev-1", "--dir", PKI, "-f", F, *BROKER, "--out", OUT),
    ("pki revoke", "topology"): ("dev-1", "--dir", PKI, "-f", F),
    ("coordinator", "topology"): ("-f", F, "--pki", PKI, "--listen", "127.0.0.1:0", "--state-dir", STATE),
    ("coordinator", "config"): ("--config", F),
    ("agent", "bundle"): ("--bundle", F, "--state-dir", STATE),
    ("agent", "config"): ("--config", F, "--state-dir", STATE),
    ("verify", "baseline"): ("--state-dir", STATE, "--baseline", F),
    ("verify", "topology"): ("--state-dir", STATE, "-f", F),
    ("install agent", "bundle"): ("--root", OUT, "--program", "/opt/segwatch", "--bundle", F),
    ("install coordinator", "topology"): (
        "--root", OUT, "--program", "/opt/segwatch", "-f", F, "--pki", PKI, "--listen", "127.0.0.1:1",
    ),
    ("store restore", "file"): (F, "--state-dir", STATE),
    ("support-bundle", "logs"): ("--state-dir", STATE, "--out", OUT, "--log", F),
    **{
        (verb, "token_file"): (*more, *API)
        for verb, *more in (
            ("verify",), ("stop",), ("dashboard",), ("matrix",), ("findings ack", "F-1", "--by", "a", "--reason", "b"),
            ("findings export", "F-1", "--pcap", OUT), ("explain", "F-1"), ("coverage",), ("report",), ("history",),
            ("support-bundle", "--out", OUT),
        )
    },
}  # fmt: skip
# What is wrong with the file, and what of it the message must say.
WRONG = {
    "none": "o such file",
    "directory": "s a directory",
    "unreadable": "nput/output error",
    "empty": "",
    "garbage": "",
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki") / "pki"
    assert CliRunner().invoke(cli, ["pki", "init", "--dir", str(directory), "-f", TOPOLOGY]).exit_code == 0
    return directory


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "directory").mkdir(mode=0o700)
    for name, content in (("empty", b""), ("garbage", bytes(range(256)) * 16)):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    # Whoever is asked, root included: its first page is not mapped.
    return {name: tmp_path / name for name in WRONG} | {"unreadable": Path("/proc/self/mem")}


def parameters(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Parameter]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from parameters(found, (*path, name))
        return
    for parameter in command.params:
        if isinstance(parameter.type, click.Path) or type(parameter.type).__name__ == "Paths":
            yield " ".join(path), parameter


def run(words: tuple[str, ...], verb: str, tmp: Path, pki: Path, file: Path) -> Result:
    return CliRunner().invoke(
        cli, [*verb.split(), *(word.format(file=file, tmp=tmp, pki=pki) for word in words)], env={"COLUMNS": "200"}
    )


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(("verb", "parameter"), list(READ))
def test_a_file_that_cannot_be_used(
    verb: str, parameter: str, wrong: str, tmp_path: Path, pki: Path, files: dict[str, Path]
) -> None:
    done = run(READ[verb, parameter], verb, tmp_path, pki, files[wrong])
    print(
        verb,
        parameter,
        wrong,
        done.exit_code,
        repr(done.stderr),
        done.exception if not isinstance(done.exception, SystemExit) else "",
    )
    assert isinstance(done.exception, SystemExit), done.exc_info
    assert done.exit_code == 2
