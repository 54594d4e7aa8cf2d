from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from agent.offset import record, recorded
from cli.agent.check import _clock
from cli.show.roster import apart, notes
from coordinator.api.agents import agents_body
from coordinator.state.roster import AgentState

AGENT = AgentState(name="dev-1", environment="dev", online=True, clock_skew_s=0.2)


def said(**more: object) -> list[str]:
    (body,) = agents_body([replace(AGENT, **more)], 0.0)  # type: ignore[arg-type]
    return notes(body)


def test_nothing_is_said_of_an_agent_that_is_well() -> None:
    assert said() == []
    assert said(clock_skew_s=None) == []


def test_what_is_said() -> None:
    assert said(clock_skew_s=-600.0) == ["its clock is 10 min behind the coordinator's"]
    assert said(refusals=3, refused=("a", "b")) == ["refused 3 messages, last: b"]
    assert said(refusals=1, refused=("\x1b[2Jb",)) == ["refused 1 message, last: ·[2Jb"], (
        "no word of an attacker's acts"
    )
    assert said(names_apart=("db is 10.0.0.1 (b: 10.0.0.2)",)) == ["sees names otherwise: db is 10.0.0.1 (b: 10.0.0.2)"]
    assert said(problem="the message has schema version 2", lacks="raw") == [
        "not understood: the message has schema version 2",
        "lacks: raw",
    ]
    assert said(certificate=(-81 * 86400.0, 9 * 86400.0)) == ["its certificate ends in 9 days"]
    assert said(certificate=(-1.0, 90 * 86400.0)) == []
    assert said(certificate=(-90 * 86400.0, -1.0)) == ["its certificate has ended"]
    assert said(rotation="certificate", ca="a1b2") == [
        "still has a certificate of the old CA: it renews that within minutes while it runs"
    ]
    assert [bool(said(rotation=word)) for word in ("unheard", "version", "trust", "")] == [True, True, True, False]
    (two,) = said(two_holders=True)
    assert "two processes" in two
    assert "`segwatch pki revoke dev-1`" in two


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (12.4, "12 s ahead of"),
        (-119, "119 s behind"),
        (600, "10 min ahead of"),
        (-3600, "60 min behind"),
        (9000, "2 h ahead of"),
    ],
)
def test_how_far_clocks_are_apart(seconds: float, words: str) -> None:
    assert apart(seconds) == words


def test_agent_check_shows_the_clock(tmp_path: Path) -> None:
    assert "not compared with the coordinator's yet" in _clock(tmp_path).holds
    record(tmp_path, -600.04, dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC).timestamp())
    assert recorded(tmp_path) == (-600.0, 1795608000.0)
    assert _clock(tmp_path).holds.startswith("10 min behind the coordinator's, at 2026-11-25 12:00 UTC")
    record(tmp_path, 0.3, 1795608000.0)
    assert _clock(tmp_path).holds.startswith("in step with the coordinator's")
    assert not _clock(tmp_path).lacks, "it is harmless"
    (tmp_path / "clock").write_text("torn")
    assert recorded(tmp_path) is None
    record(tmp_path / "missing", 1.0, 1.0)
