"""Nothing is left of a lab whose process is killed: no process, no namespace, and its files go when the next one starts."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab.sealed import Sealed
from tests.support.paths import ROOT

pytestmark = pytest.mark.lab

END_S = 120.0  # a hang guard
RUNS = """
import time
from tests.lab.small import running
with running() as system:
    print(system.directory, flush=True)
    %s
"""


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of this test's own, with a short path: a Unix socket's has 107 characters at most."""
    with tempfile.TemporaryDirectory() as made:
        monkeypatch.setenv("TMPDIR", made)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(made)
    tempfile.tempdir = None


@contextlib.contextmanager
def estate(then: str) -> Iterator[tuple[subprocess.Popen[str], Path, list[psutil.Process]]]:
    """A process that runs a whole estate and does something then; its directory; all that it started."""
    command = [sys.executable, "-c", RUNS % then]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            directory = Path(process.stdout.readline().strip())
            yield process, directory, psutil.Process(process.pid).children(recursive=True) if "sleep" in then else []
        finally:
            process.kill()


def namespaces(processes: list[psutil.Process]) -> set[str]:
    """The network namespaces that they are in."""
    found = set()
    for process in processes:
        try:
            found.add(str(Path(f"/proc/{process.pid}/ns/net").readlink()))
        except OSError:
            continue
    return found


def test_of_a_killed_one_no_process_and_no_namespace_is_left_and_the_next_removes_its_files(temporary: Path) -> None:
    with estate("time.sleep(600)") as (process, directory, started):
        assert directory.parent == temporary
        assert (directory / "state").is_dir()
        theirs = namespaces(started) - namespaces([psutil.Process()])
        assert len(theirs) >= 5, "the lab's own, the coordinator's and one an agent"
        process.kill()
    _, alive = psutil.wait_procs(started, END_S)
    assert not alive, alive
    assert not theirs & namespaces(list(psutil.process_iter())), "a namespace lives as long as a process is in it"
    assert directory.is_dir(), "nobody was left to remove it"
    with Sealed() as other:
        assert not directory.exists()
        assert list(temporary.iterdir()) == [other.directory]
        with Sealed() as third:
            assert set(temporary.iterdir()) == {other.directory, third.directory}, "what is held is left alone"
    assert list(temporary.iterdir()) == []


def test_of_one_whose_test_fails_nothing_is_left(temporary: Path) -> None:
    with estate("raise AssertionError('this test fails')") as (process, directory, _):
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(END_S) == 1
    assert directory.name
    assert list(temporary.iterdir()) == []
    assert "this test fails" in said
    assert "-- coordinator" in said, "what the processes logged stands below it"
    assert "-- prod-2" in said
    assert len(said.splitlines()) < 60, "at most a screen"
