"""The command as a process, where what it says cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fake_api import FakeCoordinator, served
from tests.support.paths import ROOT
from tests.support.sample import Estate
from tests.support.waiting import HANG_S

SEGWATCH = str(Path(sys.executable).parent / "segwatch")
FULL = "what it says cannot be written: No space left on device"


def shell(line: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line, SEGWATCH, *words], capture_output=True, text=True, timeout=HANG_S, check=False, cwd=ROOT
    )


@pytest.mark.parametrize("words", ["report -o html", "report -o csv", "matrix", "verify", "verify -o json", "--help"])
def test_a_disk_that_is_full_is_no_result(tmp_path: Path, words: str) -> None:
    """Exit code 1 would say that a path fails."""
    with served(FakeCoordinator(Estate()), tmp_path):
        done = shell('"$0" "$@" > /dev/full', *words.split(), *["--state-dir", str(tmp_path)] * (words != "--help"))
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"segwatch: {FULL}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "closed", "code"),
    [("verify", ">&-", 1), ("verify", ">&- 2>&-", 1), ("matrix", ">&- <&-", 0), ("report -o json", ">&-", 0)],
)
def test_who_closes_its_outputs_gets_its_exit_code(tmp_path: Path, words: str, closed: str, code: int) -> None:
    with served(FakeCoordinator(Estate()), tmp_path):
        done = shell(f'"$0" "$@" {closed}', *words.split(), "--state-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["report -o json", "matrix", "verify -o json", "--help"])
def test_a_reader_that_has_gone_is_neither_a_pass_nor_a_failing_path(tmp_path: Path, words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with served(FakeCoordinator(Estate()), tmp_path), os.fdopen(writer, "wb") as nobody:
        where = ["--state-dir", str(tmp_path)] * (words != "--help")
        done = subprocess.run(
            [SEGWATCH, *words.split(), *where],
            stdout=nobody,
            stderr=subprocess.PIPE,
            timeout=HANG_S,
            check=False,
            cwd=ROOT,
        )
    assert (done.returncode, b"Traceback" in done.stderr, b"Exception" in done.stderr) == (141, False, False)


def test_a_reader_that_has_read_enough_hears_no_complaint(tmp_path: Path) -> None:
    with served(FakeCoordinator(Estate()), tmp_path):
        done = shell(f'"$0" report -o json --state-dir {tmp_path} | head -c 1')
    assert (done.stdout, done.stderr) == ("{", "")
