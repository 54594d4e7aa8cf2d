"""Every file and directory that a person names on a command line: what is wrong with it is said, and the exit code is 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.main import cli
from tests.support.paths import ROOT

TOPOLOGY = str(ROOT / "topology.yaml")
F, OUT = "{file}", "{tmp}/out"  # what is tried; a place where nothing is yet
PKI, STATE = "{pki}", "{tmp}/state"
BROKER = ("--broker", "mqtts://127.0.0.1:1")
NOBODY = ("--coordinator", "http://127.0.0.1:1")
COORDINATOR = (
    "-f", TOPOLOGY, "--pki", PKI, "--listen", "127.0.0.1:1", "--web", "127.0.0.1:1", "--state-dir", STATE,
)  # fmt: skip

# Every option and argument that reads a file, as (verb, parameter), and a command line with it.
READ: dict[tuple[str, str], tuple[str, ...]] = {
    ("topology check", "files"): (F,),
    ("topology explain", "file"): (F, "--from", "dev", "--to", "prod", "--port", "tcp/22"),
    ("plan", "topology"): ("-f", F),
    ("pki agent", "topology"): ("dev-1", "--dir", PKI, "-f", F, *BROKER, "--out", OUT),
    ("pki broker", "topology"): ("--kind", "nats", "--dir", PKI, "-f", F, "--out", OUT, "--listen", "127.0.0.1:1"),
    ("pki init", "topology"): ("--dir", OUT, "-f", F),
    ("pki join-token", "topology"): ("dev-1", "--dir", PKI, "-f", F),
    ("pki renew", "topology"): ("dev-1", "--dir", PKI, "-f", F, *BROKER, "--out", OUT),
    ("pki rotate-ca", "topology"): ("--dir", PKI, "-f", F),
    ("pki revoke", "topology"): ("dev-1", "--dir", PKI, "-f", F),
    ("coordinator", "topology"): ("-f", F, "--pki", PKI, "--listen", "127.0.0.1:0", "--state-dir", STATE),
    ("coordinator", "config"): ("--config", F),
    ("coordinator", "web_cert"): (*COORDINATOR, "--web-cert", F, "--web-key", "{pki}/ca.key"),
    ("coordinator", "web_key"): (*COORDINATOR, "--web-cert", "{pki}/ca.pem", "--web-key", F),
    ("coordinator", "nats_server"): (*COORDINATOR, "--nats-server", F),
    ("agent join", "token_file"): ("--token-file", F, "--state-dir", STATE),
    ("agent", "bundle"): ("--bundle", F, "--state-dir", STATE),
    ("agent", "config"): ("--config", F, "--state-dir", STATE),
    ("verify", "baseline"): ("--state-dir", STATE, "--baseline", F),
    ("verify", "topology"): ("--state-dir", STATE, "-f", F),
    ("verify", "what_if"): ("--state-dir", STATE, "--what-if", F),
    ("install agent", "bundle"): ("--root", OUT, "--program", "/opt/segwatch", "--bundle", F),
    **{
        ("install coordinator", parameter): (
            "--root", OUT, "--program", "/opt/segwatch", "-f", TOPOLOGY, "--pki", PKI, "--listen", "127.0.0.1:1",
            "--web", "127.0.0.1:1", "--web-cert", cert, "--web-key", key,
        )
        for parameter, cert, key in (("web_cert", F, "{pki}/ca.key"), ("web_key", "{pki}/ca.pem", F))
    },
    ("install coordinator", "topology"): (
        "--root", OUT, "--program", "/opt/segwatch", "-f", F, "--pki", PKI, "--listen", "127.0.0.1:1",
    ),
    ("store restore", "file"): (F, "--state-dir", STATE),
    ("support-bundle", "logs"): ("--state-dir", STATE, "--out", OUT, "--log", F),
    **{
        (verb, parameter): (*more, *NOBODY, option, F)
        for parameter, option in (("token_file", "--token-file"), ("ca_file", "--ca-file"))
        for verb, *more in (
            ("verify",), ("stop",), ("resume",), ("agents",), ("dashboard",), ("matrix",), ("findings",), ("findings ack", "F-1", "--by", "a", "--reason", "b"),
            ("findings export", "F-1", "--pcap", OUT), ("explain", "F-1"), ("coverage",), ("report",), ("history",),
            ("support-bundle", "--out", OUT), ("topology draft",), ("topology check", TOPOLOGY),
        )
    },
}  # fmt: skip
# Every one that writes a file.
WRITTEN: dict[tuple[str, str], tuple[str, ...]] = {
    ("pki agent", "out"): ("dev-1", "--dir", PKI, "-f", TOPOLOGY, *BROKER, "--out", F),
    ("pki renew", "out"): ("dev-1", "--dir", PKI, "-f", TOPOLOGY, *BROKER, "--out", F),
    ("verify", "write_baseline"): (*NOBODY, "--write-baseline", F, "--owner", "a"),
    ("verify", "to_write"): (*NOBODY, "--report", f"junit={F}"),
    ("findings export", "pcap"): ("F-1", *NOBODY, "--pcap", F),
    ("explain", "pcap"): ("F-1", *NOBODY, "--pcap", F),
    ("report", "out"): (*NOBODY, "--out", F),
    ("topology draft", "out"): (*NOBODY, "--out", F),
    ("store backup", "file"): (F, "--state-dir", STATE),
    ("support-bundle", "out"): (*NOBODY, "--out", F),
}  # fmt: skip
# Every one that reads or fills a directory, with what it is called where it is a file.
DIRECTORIES = {"directory", "pki", "state_dir", "root", "out", "at"}
# What is wrong with a file, and what of it the message must say.
WRONG = {
    "none": "no such file or directory",
    "directory": "is a directory",
    "unreadable": "i/o error",
    "empty": "empty",
    "garbage": "not utf-8|not text|no text|not a bundle|not a sound backup|not valid yaml|not yaml",
}
SAID_OTHERWISE = {
    ("agent config", "empty"): "holds no keys: it needs name, environment, broker, allow",
    ("coordinator config", "empty"): "a configuration is a mapping with keys of topology, pki",
    ("store restore file", "none"): "there is no store",
    ("store restore file", "empty"): "not a sound backup",
    ("support-bundle logs", "directory"): "not a plain file",
    ("agent join token_file", "garbage"): "is not a token of segwatch pki join-token",
    **{("coordinator nats_server", wrong): "is not a program that this user can start" for wrong in WRONG},
    **{
        (f"{verb} {parameter}", wrong): "are not a certificate and its key, both pem"
        for verb in ("coordinator", "install coordinator")
        for parameter in ("web_cert", "web_key")
        for wrong in ("empty", "garbage")
    },
}


def parameters(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Parameter]]:
    """Of all verbs, what takes a path."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from parameters(found, (*path, name))
    for parameter in command.params:
        if isinstance(parameter.type, click.Path) or "FILE" in (parameter.metavar or ""):
            yield " ".join(path), parameter


def test_every_file_that_can_be_named_is_in_these_tables() -> None:
    found = {(verb, str(parameter.name)) for verb, parameter in parameters(cli)}
    assert len(found) > 60
    missing = {entry for entry in found - READ.keys() - WRITTEN.keys() if entry[1] not in DIRECTORIES}
    assert missing == set(), "what is said where such a file cannot be used?"
    assert {*READ, *WRITTEN} <= found


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


def said(verb: str, words: tuple[str, ...], tmp: Path, pki: Path, file: Path) -> str:
    given = [*verb.split(), *(word.format(file=file, tmp=tmp, pki=pki) for word in words)]
    done = CliRunner().invoke(cli, given)
    assert isinstance(done.exception, SystemExit), "no traceback"
    assert done.exit_code == 2
    assert str(file) in done.stderr
    return " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("verb", "parameter", "wrong"),
    [(*one, wrong) for one in READ for wrong in WRONG if (one[1], wrong) != ("logs", "empty")],  # a log may be empty
)
def test_a_file_that_cannot_be_read_is_named_and_why(
    verb: str, parameter: str, wrong: str, tmp_path: Path, pki: Path, files: dict[str, Path]
) -> None:
    text = said(verb, READ[verb, parameter], tmp_path, pki, files[wrong])
    words = SAID_OTHERWISE.get((f"{verb} {parameter}", wrong), WRONG[wrong])
    assert any(word in text.lower().replace("input/output", "i/o") for word in words.split("|")), text
    assert "[Errno" not in text
    assert not (tmp_path / "out").exists(), "what cannot be done is not begun"


@pytest.mark.parametrize("wrong", ["directory", "nowhere/file", "empty/file"])
@pytest.mark.parametrize(("verb", "parameter"), list(WRITTEN))
def test_a_file_that_cannot_be_written_is_named_and_why(
    verb: str, parameter: str, wrong: str, tmp_path: Path, pki: Path, files: dict[str, Path]
) -> None:
    text = said(verb, WRITTEN[verb, parameter], tmp_path, pki, tmp_path / wrong)
    words = "is a directory" if wrong == "directory" else "no directory|no such file or directory|not a directory"
    assert any(word in text.lower() for word in words.split("|")), text
    assert "[Errno" not in text
