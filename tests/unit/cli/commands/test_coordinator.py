from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.commands.coordinator import command
from coordinator.topology.document import Problem
from coordinator.topology.load import TopologyErrors

TOPOLOGY = """\
version: 1
environments:
  dev: {networks: [10.10.0.0/24], agents: {dev-1: {}}}
"""
REST = "-f topology.yaml --pki pki --listen 127.0.0.1:8883 --state-dir state"


@pytest.mark.parametrize(
    ("line", "file", "words"),
    [
        (f"{REST} --broker mqtt://a", "", "'mqtt://a' is not mqtts://HOST:PORT"),
        (f"{REST} --config c.yaml", "broker: 192.0.2.1", "'192.0.2.1' is not mqtts://HOST:PORT"),
        (f"{REST} --config c.yaml --broker mqtts://a,", "broker: embedded", "'mqtts://a,' is not mqtts://HOST:PORT"),
        (f"{REST} --config c.yaml", "brokers: mqtts://a", "c.yaml: unknown key 'brokers'; the keys are topology, pki, broker,"),
        (f"{REST} --broker mqtts://a", "", "pki holds no ca.pem"),
        (f"{REST} --web 0.0.0.0:8600", "", "it needs TLS. Give --web-cert FILE and --web-key FILE"),
        (f"{REST} --config c.yaml", "web: 10.0.0.1:8600", "it needs TLS. Give --web-cert FILE and --web-key FILE"),
        (f"{REST} --config c.yaml", "web_cert: c.pem", "are a certificate and its key: give both"),
        (f"{REST} --nats-server none", "", "--nats-server none is not a program that this user can start"),
        (f"{REST} --config c.yaml", "nats_server: c.yaml", "c.yaml is not a program that this user can start"),
        (f"{REST} --web 127.0.0.1:8600 --web-cert c.yaml --web-key none", "", "o such file or directory: none"),
        (f"{REST} --web 127.0.0.1:8600 --web-cert pki/broker.pem --web-key pki/broker.key", "", "pki holds no ca.pem"),
    ],
)  # fmt: skip
def test_what_is_wrong_about_its_broker_or_its_api_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, file: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "coordinator.service._settle", lambda _: ()
    )  # this process is the tests', who still need theirs
    Path("topology.yaml").write_text(TOPOLOGY)
    Path("c.yaml").write_text(file)
    result = CliRunner().invoke(command, line.split())
    assert result.exit_code == 2
    assert words in result.output


def test_a_plan_that_cannot_be_made_ends_its_start_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise ExceptionGroup("tasks", [TopologyErrors("topology.yaml", [Problem(0, 0, "its plan cannot be made")])])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coordinator.service.serve", fails)
    monkeypatch.setattr("coordinator.api.guard.serving.check", lambda _: None)
    Path("topology.yaml").write_text(TOPOLOGY)
    result = CliRunner().invoke(command, REST.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert "topology.yaml: its plan cannot be made" in result.stderr
    assert "Traceback" not in result.output
