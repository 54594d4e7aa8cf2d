"""What a host must have before anything is put in place on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import cli
from tests.support.bundles import bundle
from tests.support.paths import ROOT

PROGRAM = ("--program", "/opt/segwatch/bin/segwatch")
BOTH = {"systemctl", "systemd-sysusers"}


@pytest.mark.parametrize(
    ("booted", "tools", "words"),
    [
        (False, BOTH, "systemd does not run this host, so that nothing would start the units"),
        (True, BOTH - {"systemctl"}, "there is no systemctl on this host: the units need systemd 247 or later"),
        (True, {"systemctl"}, "there is no systemd-sysusers on this host: the units need systemd 247 or later"),
    ],
)
@pytest.mark.parametrize("role", ["agent", "coordinator", "verify-timer"])
def test_a_host_without_systemd_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, role: str, booted: bool, tools: set[str], words: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("cli.install.host._BOOTED", tmp_path if booted else tmp_path / "none")
    monkeypatch.setattr("shutil.which", lambda name: name if name in tools else None)
    touched: list[str] = []
    monkeypatch.setattr("cli.install.host.Host.put", lambda *what: touched.append(str(what)))
    given = {
        "agent": ["--bundle", str(bundle(tmp_path / "dev-1.tar"))],
        "coordinator": ["-f", str(ROOT / "topology.yaml"), "--pki", str(tmp_path), "--listen", "10.0.0.1:8883"],
    }
    done = CliRunner().invoke(cli, ["install", role, *given.get(role, []), *PROGRAM])
    assert (done.exit_code, touched) == (2, [])
    assert f"segwatch install {role}: {words}\n  Into an image that systemd will boot: --root DIR." in done.output
