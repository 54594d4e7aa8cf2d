"""`segwatch pki rotate-ca`, by hand."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from agent.bundle import read_bundle
from cli.commands.pki import command

TOPOLOGY = """\
version: 1
environments:
  dev:
    networks: [10.10.0.0/24]
    agents: {dev-1: {addresses: [10.10.0.10]}}
  prod:
    networks: [10.30.0.0/24]
    agents: {prod-1: {}}
"""
PLACE = "--dir pki -f topology.yaml"


@pytest.fixture(autouse=True)
def estate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("topology.yaml").write_text(TOPOLOGY)
    assert run(f"init {PLACE}").exit_code == 0


def run(line: str) -> Result:
    return CliRunner().invoke(command, line.split())


def trusted(out: str) -> int:
    made = run(f"renew dev-1 {PLACE} --broker mqtts://192.0.2.1:8883 --out {out}")
    assert made.exit_code == 0, made.output
    return len(x509.load_pem_x509_certificates(read_bundle(Path(out))["ca.pem"]))


def test_both_then_one() -> None:
    assert trusted("before.tar") == 1
    begun = run(f"rotate-ca {PLACE}")
    assert begun.exit_code == 0, begun.output
    assert "pki holds two CAs from now on: " in begun.output
    assert "segwatch pki rotate-ca --finish --dir pki -f topology.yaml" in begun.output
    assert "segwatch pki broker" in begun.output
    assert trusted("between.tar") == 2
    again = run(f"rotate-ca {PLACE}")
    assert again.exit_code == 2
    assert "pki holds two CAs already" in again.output
    refused = run(f"rotate-ca --finish --even-if dev-1 {PLACE}")
    assert refused.exit_code == 2
    assert "these would be shut out: prod-1 was not heard of since the new CA is there." in refused.output
    assert "dev-1" not in refused.output
    assert "--even-if NAME" in refused.output
    assert trusted("still.tar") == 2
    finished = run(f"rotate-ca --finish --even-if dev-1 --even-if prod-1 {PLACE}")
    assert finished.exit_code == 0, finished.output
    assert "What is of the old one is refused." in finished.output
    assert "segwatch pki join-token prod-1" in finished.output
    assert trusted("after.tar") == 1
    nothing = run(f"rotate-ca --finish {PLACE}")
    assert nothing.exit_code == 2
    assert "there is nothing to finish" in nothing.output


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"rotate-ca --even-if dev-1 {PLACE}", "--even-if is for --finish"),
        (f"rotate-ca --finish --even-if dev-2 {PLACE}", "declares no agent 'dev-2'; did you mean 'dev-1'?"),
        ("rotate-ca --dir elsewhere -f topology.yaml", "elsewhere holds no ca.pem"),
    ],
)
def test_what_is_refused(line: str, words: str) -> None:
    done = run(line)
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())
    assert len(x509.load_pem_x509_certificates(Path("pki/ca.pem").read_bytes())) == 1


def test_nothing_is_said_where_nothing_is_to_be_said() -> None:
    assert run(f"rotate-ca -q {PLACE}").output == ""
    assert run(f"rotate-ca -q --finish --even-if dev-1 --even-if prod-1 {PLACE}").output == ""
