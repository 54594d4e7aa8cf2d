"""A coordinator's process in a directory of its own."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, wait_for

SEGWATCH = str(Path(sys.executable).parent / "segwatch")


def serves(process: subprocess.Popen[str], file: Path) -> bool:
    """Whether it answers; its socket is the last that it opens. One that was left behind refuses."""
    assert process.poll() is None, process.stderr.read() if process.stderr else ""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(file)) == 0


def put(path: Path, text: str) -> None:
    """Replace a file as editors do: who watches it never reads half of it."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


class Running:
    """A coordinator in a directory of its own."""

    def __init__(self, directory: Path, process: subprocess.Popen[str], web: int) -> None:
        self.directory, self.process, self.web = directory, process, web

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SEGWATCH, *arguments], cwd=self.directory, capture_output=True, text=True, timeout=HANG_S, check=False
        )

    def request(self, method: str, path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.web, timeout=HANG_S)
        try:
            connection.request(method, path, b"{}" if method == "POST" else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@contextmanager
def coordinator(directory: Path, before: str = "", topology: str = "", more: tuple[str, ...] = ()) -> Iterator[Running]:
    """`before` is done in its process first; `topology` is the file's text, the demo's unless told otherwise; `more` are options."""
    if topology:
        (directory / "topology.yaml").write_text(topology)
    else:
        shutil.copy(ROOT / "topology.yaml", directory)
    made = [SEGWATCH, "pki", "init", "--dir", "pki", "-f", "topology.yaml", "-q"]
    subprocess.run(made, cwd=directory, check=True, capture_output=True)
    web = free_port()
    command = [SEGWATCH, "coordinator", "-f", "topology.yaml", "--pki", "pki", "--listen", f"127.0.0.1:{free_port()}"]
    command += ["--web", f"127.0.0.1:{web}", "--state-dir", "state", *more]
    if before:
        command[:1] = [sys.executable, "-c", f"{before}; from cli.main import main; main()"]
    with subprocess.Popen(command, cwd=directory, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(lambda: serves(process, directory / "state" / "coordinator.sock"))
            yield Running(directory, process, web)
        finally:
            process.terminate()
