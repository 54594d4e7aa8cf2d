"""What a command cannot do is said in lines that are its own."""

from __future__ import annotations

import pytest

from cli.errors import Problem


def test_what_others_wrote_moves_no_cursor_in_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    Problem("a file \x1b[2J\u202e is not there", "name another").show()
    assert capsys.readouterr().err == "segwatch: a file ·[2J· is not there\n  name another\n"
