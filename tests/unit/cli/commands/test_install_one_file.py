"""`segwatch install` by the single file that carries its interpreter."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import cli


@pytest.mark.parametrize("file", ["/usr/local/bin/segwatch-agent", "/home/me/segwatch-agent"])
def test_of_a_single_file_the_unit_starts_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    monkeypatch.setitem(sys._xoptions, "segwatch", file)
    done = CliRunner().invoke(cli, ["install", "verify-timer", "--root", str(tmp_path)])
    if file.startswith("/home"):
        assert (done.exit_code, f"install {file} /usr/local/bin/" in done.output) == (2, True)
    else:
        assert f"ExecStart={file} verify " in (tmp_path / "etc/systemd/system/segwatch-verify.service").read_text()
