"""The coordinator's log on a terminal: what others said in it is read, and does nothing else."""

from __future__ import annotations

import pytest
import structlog

from cli.commands.coordinator import open_log


def test_what_others_said_moves_no_cursor_of_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    open_log(as_json=False, verbose=False)
    structlog.get_logger("collect").warning("re\x1b[2Jfused", why="\x1b]0;x\x07\u202e", lines="one\ntwo")
    said = capsys.readouterr().err
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert "re·[2Jfused" in said
    assert "why=·]0;x··" in said
