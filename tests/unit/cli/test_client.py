"""The API's token, from a file of its owner's, from the environment or from the command line; and answers that nobody expects."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import client
from cli.commands.matrix import command
from cli.main import cli
from coordinator.api.errors import encoded
from tests.support.answers import json_of
from tests.support.fake_api import FakeCoordinator, served
from tests.support.sample import Estate


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens with which the API was asked."""
    tokens: list[str] = []

    def get(self: client.Client, *_: object, **__: object) -> object:
        tokens.append(self._endpoint.token)
        raise client.UnreachableError("nobody is there")

    monkeypatch.setattr(client.Client, "get", get)
    return tokens


def run(*arguments: str, **environment: str) -> str:
    result = CliRunner().invoke(command, ["--coordinator", "http://192.0.2.1:1", *arguments], env=environment)
    assert result.exit_code == 2
    return str(result.output)


def test_from_a_file_and_from_the_environment(asked: list[str], tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("of the file\n")
    path.chmod(0o600)
    assert run("--token-file", str(path)) == run(SEGWATCH_TOKEN="of the environment")
    assert run("--token-file", str(path), SEGWATCH_TOKEN="of the environment")
    assert asked == ["of the file", "of the environment", "of the file"]


def test_an_argument_is_seen_by_others_and_is_refused(asked: list[str]) -> None:
    said = " ".join(run("--token", "t").split())
    assert "--token is not taken as an argument, which others on this host see: use --token-file FILE or the" in said
    assert not asked


def test_a_file_that_is_not_private_or_not_there(asked: list[str], tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert "token cannot be read: " in run("--token-file", str(path))
    path.write_text("very secret")
    path.chmod(0o644)
    said = run("--token-file", str(path))
    assert f"{path} can be read by others. Fix it: chmod 600 {path}" in said
    assert "very secret" not in said
    assert not asked


class Strange(FakeCoordinator):
    """Something else, or a coordinator of another version: it answers every path with these bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(Estate())
        self._data = data

    def get(self, path: str, query: dict[str, str]) -> bytes:
        return self._data


def answered(tmp_path: Path, data: bytes, *arguments: str) -> Result:
    with served(Strange(data), tmp_path / "state"):
        return CliRunner().invoke(cli, [*arguments, "--state-dir", str(tmp_path / "state")])


OLDER = json_of(Estate().status())
EVENT = json_of(FakeCoordinator(Estate()).get("history", {}))[0]
del OLDER["refused"]


@pytest.mark.parametrize(
    ("verb", "data", "what"),
    [
        ("matrix", b'{"environments": 3}', "answers matrix in a way that this version does not know: Expected `array`"),
        ("findings", b'[{"id": "F-1"}]', "answers findings in a way that this version does not know: Object missing"),
        ("stop --resume", json.dumps(OLDER).encode(), "Object missing required field `refused`"),
        ("history", json.dumps([{**EVENT, "at": "yesterday"}]).encode(), "Expected `str` matching regex"),
        ("coverage", b"[" * 5000, "its coverage is not JSON"),
        ("history", b"", "its history is not JSON"),
        ("history -o json", b"<html>", "its history is not JSON"),
        ("report", b"\xff{}", "its report is not JSON"),
    ],
)
def test_an_answer_that_does_not_fit_is_said_in_words(tmp_path: Path, verb: str, data: bytes, what: str) -> None:
    result = answered(tmp_path, data, *verb.split())
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit), "no traceback"
    assert result.stdout == ""
    said = " ".join(result.stderr.split())
    assert what in said
    assert str(tmp_path / "state") in said
    assert ("Look at the address" in said) is ("not JSON" in said)
    assert ("must be of one version" in said) is ("not JSON" not in said)


@pytest.mark.parametrize("verb", ["matrix", "findings", "report -o markdown", "report -o html", "explain F-1"])
def test_a_word_of_a_newer_coordinator_is_shown_as_it_is(tmp_path: Path, verb: str) -> None:
    class Newer(FakeCoordinator):
        def get(self, path: str, query: dict[str, str]) -> bytes:
            asked = {"finding": self.estate.book.findings[0].id} if path == "explain" else query
            body = encoded(super().get(path, asked))
            return body.replace(b'"fail",', b'"of-later",').replace(b'"reachable"', b'"of-later"')

    with served(Newer(Estate()), tmp_path / "state"):
        result = CliRunner().invoke(cli, [*verb.split(), "--state-dir", str(tmp_path / "state")])
    assert result.exit_code == 0, result.output
    assert result.stdout


def test_what_a_newer_coordinator_adds_is_printed_as_json_and_else_left_alone(tmp_path: Path) -> None:
    body = json_of(FakeCoordinator(Estate()).get("coverage", {}))
    newer = {**body, "of_later": [1.50, {"x": None}], "coverage": 1}
    printed = answered(tmp_path, json.dumps(newer).encode(), "coverage", "-o", "json")
    assert printed.stdout == json.dumps(newer, indent=2) + "\n"
    table = answered(tmp_path, json.dumps(newer).encode(), "coverage")
    assert table.exit_code == 0
    assert table.stdout.startswith("100%  proven: ")


def test_a_file_comes_before_the_token_itself(asked: list[str], tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("of the file\n")
    path.chmod(0o600)
    environment = {"SEGWATCH_COORDINATOR": "http://192.0.2.1:1", "SEGWATCH_MATRIX_TOKEN_FILE": str(path)}
    for more in ({}, {"SEGWATCH_TOKEN": "of the environment"}):
        CliRunner(env={**environment, **more}).invoke(cli, ["matrix"])
    assert asked == ["of the file", "of the file"]


def test_a_token_of_the_environment_is_no_argument(asked: list[str]) -> None:
    assert "--token-file" not in run(SEGWATCH_TOKEN="t")
    assert asked == ["t"]
