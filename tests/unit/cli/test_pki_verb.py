from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent.bundle import read_bundle
from cli.pki import command

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


@pytest.fixture
def estate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("topology.yaml").write_text(TOPOLOGY)
    return tmp_path


def run(line: str) -> Result:
    return CliRunner().invoke(command, line.split())


def bundle(name: str = "dev-1", broker: str = "mqtts://192.0.2.1:8883", out: str = "b.tar") -> Result:
    return run(f"agent {name} --dir pki -f topology.yaml --broker {broker} --out {out}")


@pytest.mark.usefixtures("estate")
def test_by_hand() -> None:
    made = run("init --dir pki -f topology.yaml")
    assert made.exit_code == 0, made.output
    assert "for each of dev-1, prod-1" in made.output
    bundled = bundle()
    assert bundled.exit_code == 0, bundled.output
    assert "b.tar: dev-1 of dev, until " in bundled.output
    assert "segwatch agent --bundle b.tar --state-dir DIR" in bundled.output
    assert Path("b.tar").stat().st_mode & 0o777 == 0o600
    assert set(read_bundle(Path("b.tar"))) == {"agent.yaml", "agent.pem", "agent.key", "ca.pem", "coordinator.pub"}


@pytest.mark.usefixtures("estate")
def test_nothing_is_overwritten() -> None:
    run("init --dir pki -f topology.yaml")
    again = run("init --dir pki -f topology.yaml")
    assert again.exit_code == 2
    assert "pki already holds ca.pem" in again.output


@pytest.mark.usefixtures("estate")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "dev-2"}, "topology.yaml declares no agent 'dev-2'; did you mean 'dev-1'?"),
        ({"name": "xyz"}, "declares no agent 'xyz'; it declares dev-1, prod-1."),
        ({"broker": "192.0.2.1"}, "'192.0.2.1' is not mqtts://HOST:PORT"),
        ({"out": "nowhere/b.tar"}, "nowhere/b.tar: No such file or directory"),
    ],
)
def test_what_is_wrong_is_said(arguments: dict[str, str], words: str) -> None:
    run("init --dir pki -f topology.yaml")
    result = bundle(**arguments)
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.usefixtures("estate")
def test_no_pki_and_no_topology() -> None:
    assert "segwatch pki init --dir pki" in bundle().output
    Path("topology.yaml").write_text(TOPOLOGY.replace("agents", "agent"))
    broken = run("init --dir pki -f topology.yaml")
    assert broken.exit_code == 2
    assert "the topology has 2 errors:" in broken.output
    assert "topology.yaml:5:5: " in broken.output
