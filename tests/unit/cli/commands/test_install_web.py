"""An installed coordinator's API: with a certificate, or on loopback."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from cli.main import cli
from tests.support.paths import ROOT

TOPOLOGY = str(ROOT / "topology.yaml")


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    assert CliRunner().invoke(cli, ["pki", "init", "--dir", str(tmp_path / "pki"), "-f", TOPOLOGY]).exit_code == 0
    return tmp_path / "pki"


def install(tmp_path: Path, pki: Path, *more: str) -> Result:
    at = ["install", "coordinator", "--root", str(tmp_path / "root"), "--program", "/opt/segwatch/bin/segwatch"]
    return CliRunner().invoke(cli, [*at, "-f", TOPOLOGY, "--pki", str(pki), "--listen", "10.0.0.1:8883", *more])


def test_off_loopback_it_needs_a_certificate_and_nothing_is_begun_without(tmp_path: Path, pki: Path) -> None:
    done = install(tmp_path, pki, "--web", "10.0.0.1:8600")
    assert done.exit_code == 2
    assert "it needs TLS. Give --web-cert FILE and --web-key FILE" in " ".join(done.stderr.split())
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("own", [True, False])
def test_the_brokers_own_is_named_where_the_keys_are_copied_to_and_others_where_they_are(
    tmp_path: Path, pki: Path, own: bool
) -> None:
    there = [str(pki / "broker.pem"), str(pki / "broker.key")] if own else [str(pki / "ca.pem"), str(pki / "ca.key")]
    if not own:
        for number, name in enumerate(("web.pem", "web.key")):
            (tmp_path / name).write_bytes(Path(there[number]).read_bytes())
            (tmp_path / name).chmod(0o600)
            there[number] = str(tmp_path / name)
    done = install(
        tmp_path,
        pki,
        "--web",
        "10.0.0.1:8600",
        "--web-cert",
        there[0],
        "--web-key",
        there[1],
        "--web-name",
        "seg.example",
    )
    assert done.exit_code == 0, done.output
    settings = yaml.safe_load((tmp_path / "root/etc/segwatch/coordinator.yaml").read_text())
    assert [settings["web_cert"], settings["web_key"]] == (["pki/broker.pem", "pki/broker.key"] if own else there)
    assert settings["web_name"] == ["seg.example"]
