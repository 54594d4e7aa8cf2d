"""The API's token: from a file of its owner's, from the environment, and from the command line with a word about it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import client
from cli.commands.matrix import command


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


def test_an_argument_is_seen_by_others_and_that_is_said(asked: list[str]) -> None:
    assert run("--token", "t").startswith(
        "Others on this host can see --token in the list of processes: use --token-file."
    )
    assert asked == ["t"]


def test_a_file_that_is_not_private_or_not_there(asked: list[str], tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert "token cannot be read: " in run("--token-file", str(path))
    path.write_text("very secret")
    path.chmod(0o644)
    said = run("--token-file", str(path))
    assert f"{path} can be read by others. Fix it: chmod 600 {path}" in said
    assert "very secret" not in said
    assert not asked
