"""Files from standard input and from pipes."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.files import piped
from cli.main import cli

GOOD = "version: 1\nenvironments:\n  dev: {networks: [10.10.0.0/24], agents: {dev-1: {}}}\n"


def test_a_pipe_is_read_to_its_end_and_no_further_than_is_asked(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for most, expected in ((100, b"0123456789"), (4, b"01234")):
        writer = threading.Thread(target=pipe.write_bytes, args=(b"0123456789",))
        writer.start()
        assert piped(pipe, most) == expected
        writer.join()


def test_a_file_and_what_is_not_there_are_no_pipes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert [piped(tmp_path / name, 9) for name in ("file", "missing", "nul\0")] == [None, None, None]


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [(GOOD, 0, "✓ -: 1 environment"), ("version: 2\n", 2, "-:1:10: 'version' is 2"), ("", 2, "the file is empty")],
)
def test_a_topology_from_standard_input(given: str, code: int, words: str) -> None:
    result = CliRunner().invoke(cli, ["topology", "check", "-"], input=given)
    assert result.exit_code == code, result.output
    assert words in result.output


def test_every_command_that_reads_a_topology_reads_it_from_there() -> None:
    result = CliRunner().invoke(cli, ["plan", "-f", "-"], input=GOOD)
    assert result.exit_code == 0, result.output


def test_a_shells_process_substitution() -> None:
    segwatch = Path(sys.executable).parent / "segwatch"
    script = f"{segwatch} topology check <(printf '{GOOD}')"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_daemon_that_reads_it_again_wants_a_file(tmp_path: Path) -> None:
    line = ["coordinator", "-f", "-", "--pki", "pki", "--listen", "127.0.0.1:8883", "--state-dir", str(tmp_path)]
    result = CliRunner().invoke(cli, line, input=GOOD)
    assert result.exit_code == 2
    assert "- is not a file\n  The coordinator reads its topology again when it changes: name a file." in result.output
