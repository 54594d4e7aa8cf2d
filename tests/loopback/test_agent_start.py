"""A daemon that cannot do its work does not start, and says why."""

from pathlib import Path

import pytest

from agent.__main__ import main
from agent.config import AgentConfig


def test_without_netlink_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = AgentConfig(name="dev-1", environment="dev", broker="mqtts://10.0.0.1:8883", allow=("10.30.0.0/24",))
    monkeypatch.setattr("agent.__main__.load", lambda _: config)
    monkeypatch.setattr(
        "agent.__main__.lacks_netlink", lambda: "this process may not open netlink sockets (AF_NETLINK)"
    )
    assert main(["--state-dir", str(tmp_path), "--log", "json"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("segwatch agent: this process may not open netlink sockets (AF_NETLINK). To allow them: ")
    assert "RestrictAddressFamilies=" in said


def test_an_option_given_twice_is_not_half_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--state-dir", "one", "--state-dir", "two"]) == 2
    assert capsys.readouterr().err.startswith("usage: ")
