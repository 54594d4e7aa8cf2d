"""Completion, asked for as a shell's function does."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import VERBS, cli

SEGWATCH = Path(sys.executable).parent / "segwatch"


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "complete -o nosort"), ("zsh", "#compdef segwatch"), ("fish", "complete")]
)
def test_each_shell_has_its_script(shell: str, words: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0, result.output
    assert words in result.output
    assert "_SEGWATCH_COMPLETE" in result.output


def test_another_shell_is_refused_in_words() -> None:
    result = CliRunner().invoke(cli, ["completion", "tcsh"])
    assert result.exit_code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in result.output


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("segwatch ", set(VERBS)),
        ("segwatch mat", {"matrix"}),
        ("segwatch matrix --w", {"--watch"}),
        ("segwatch pki a", {"agent"}),
        ("segwatch verify -o j", {"json", "junit"}),
    ],
)
def test_bash_itself_completes(line: str, expected: set[str]) -> None:
    words = " ".join(f"'{word}'" for word in line.split(" "))
    script = (
        f'eval "$({SEGWATCH} completion bash)"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); '
        f'_segwatch_completion {SEGWATCH}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected, done.stderr
