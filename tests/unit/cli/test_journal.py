import os
from pathlib import Path

import pytest

from cli.journal import as_errors


def test_only_the_journal_gets_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "stream").open("w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        assert as_errors(["FAIL"], stream.fileno()) == ["FAIL"]
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert as_errors(["FAIL", "a\nb"], stream.fileno()) == ["<3>FAIL", "<3>a", "<3>b"]
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")  # inherited, and redirected since
        assert as_errors(["FAIL"], stream.fileno()) == ["FAIL"]
