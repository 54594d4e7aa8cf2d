"""What `segwatch agent join` refuses before a token is used."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.agent.join import command
from wire import joining

TOKEN = joining.write_token(
    joining.Token(
        id="a1",
        agent="dev-1",
        environment="dev",
        ca=b"",
        certificate=b"",
        key=b"",
        seed=bytes(32),
        coordinator=bytes(32),
        server_name="broker.segwatch.internal",
    )
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def join(line: str, given: str = TOKEN) -> Result:
    return CliRunner().invoke(command, line.split(), input=given)


@pytest.mark.parametrize(
    ("line", "given", "words"),
    [
        ("--token-file -", "hello", "-: it is not a token of segwatch pki join-token"),
        ("--token-file -", TOKEN[:-8], "-: the token is not whole: copy it again"),
        ("--token-file absent", "", "absent cannot be read: No such file or directory"),
        ("--token-file -", TOKEN, "give --coordinator HOST:PORT"),
        ("--token-file - --coordinator http://x", TOKEN, "--coordinator: 'http://x' is not mqtts://HOST:PORT"),
    ],
)
def test_in_words(line: str, given: str, words: str) -> None:
    result = join(f"{line} --state-dir state", given)
    assert result.exit_code == 2
    assert words in result.output
    assert not Path("state").exists()


def test_a_token_that_others_can_read() -> None:
    Path("token").write_text(TOKEN)
    Path("token").chmod(0o644)
    result = join("--token-file token --state-dir state")
    assert result.exit_code == 2
    assert "token can be read by others. Fix it: chmod 600 token" in result.output


def test_no_token_is_an_argument() -> None:
    assert "token" not in {option.name for option in command.params}
    assert join(f"{TOKEN} --state-dir state").exit_code == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [("dev-1", "state already holds agent dev-1"), ("prod-1", "state is the state directory of agent prod-1")],
)
def test_a_state_directory_of_an_agent(name: str, words: str) -> None:
    Path("state").mkdir(mode=0o700)
    Path("state/agent.json").write_text(f'{{"name": "{name}"}}')
    result = join("--token-file - --coordinator 127.0.0.1:1 --state-dir state")
    assert result.exit_code == 2
    assert words in result.output
