"""The agent's log."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs

from agent.journal import open_log

ELSEWHERE = structlog.get_logger("elsewhere")


def test_a_line_is_json_and_names_the_agent(capsys: pytest.CaptureFixture[str]) -> None:
    open_log("dev-1", as_json=True).info("begun", port=1)
    line = capsys.readouterr().err
    assert line.startswith("{")
    assert all(part in line for part in ('"agent": "dev-1"', '"port": 1', '"level": "info"', '"event": "begun"'))


def test_what_others_said_moves_no_cursor_of_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    open_log("dev-1", as_json=False).info("re\x1b[2Jfused", why="\x1b]0;x\x07", lines="one\ntwo", more=["\u202e"])
    said = capsys.readouterr().err
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert "re·[2Jfused" in said
    assert "why=·]0;x·" in said


def test_a_logger_that_was_used_follows_a_later_set_up() -> None:
    """Kept for good, the first set-up took the lines of a module away from whoever listened later."""
    open_log("dev-1", as_json=True)
    ELSEWHERE.warning("before")
    structlog.reset_defaults()
    with capture_logs() as said:
        ELSEWHERE.warning("after")
    assert [entry["event"] for entry in said] == ["after"]
