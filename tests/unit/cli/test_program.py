"""A program in a venv is beside its interpreter; a single file says itself where it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli import program
from tests.support.paths import ROOT


def test_in_a_venv_it_is_beside_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/segwatch/bin/python")
    assert (program.one_file(), program.path()) == ("", "/opt/segwatch/bin/segwatch")


def test_a_single_file_says_where_it_is() -> None:
    asked = "from cli import program; print(program.one_file(), program.path())"
    given = [sys.executable, "-X", "segwatch=/usr/local/bin/segwatch-agent", "-c", asked]
    done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["/usr/local/bin/segwatch-agent"] * 2
    assert not Path(done.stdout.split()[0]).is_relative_to(ROOT)
