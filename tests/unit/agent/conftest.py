import sqlite3
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _spools_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that reads what another spool left behind does not have to close each by hand."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def remember(*args: object, **more: object) -> sqlite3.Connection:
        opened.append(connect(*args, **more))  # type: ignore[call-overload]
        return opened[-1]

    monkeypatch.setattr("agent.spool.sqlite3.connect", remember)
    yield
    for connection in opened:
        connection.close()
