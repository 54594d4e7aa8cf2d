"""A browser that has shown the token: how long, how many, and what it may change."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from multidict import CIMultiDict

from coordinator.api.auth import ApiError
from coordinator.api.guard.sessions import (
    CSRF,
    FILE,
    LIFE_S,
    MOST,
    PUBLIC,
    SESSIONS,
    Sessions,
    check_change,
    cookie_of,
    is_known,
    is_same_origin,
)
from wire.keyfiles import Exposed

TOKEN = "t0ken"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(tmp_path: Path, clock: Clock) -> Sessions:
    return Sessions(TOKEN, tmp_path / FILE, clock)


class Asked:
    """A request, as far as it is looked at."""

    def __init__(
        self,
        sessions: Sessions,
        method: str = "GET",
        *,
        cookie: str = "",
        secure: bool = False,
        path: str = "/api/v1/stop",
        **headers: str,
    ) -> None:
        self.app = {SESSIONS: sessions, PUBLIC: frozenset({"/", "/page/app.js"})}
        self.method, self.secure, self.path = method, secure, path
        self.cookies = {cookie_of(secure): cookie} if cookie else {}
        self.headers = CIMultiDict(
            {"Host": "segwatch.example:8600", **{name.replace("_", "-"): value for name, value in headers.items()}}
        )


def known(asked: Asked) -> bool:
    return is_known(asked)  # type: ignore[arg-type]


def test_one_lasts_twelve_hours_and_no_longer(sessions: Sessions, clock: Clock) -> None:
    name = sessions.begin()
    clock.now += LIFE_S - 1
    assert sessions.has(name)
    clock.now += 1
    assert not sessions.has(name)


def test_a_clock_that_is_set_back_makes_none_last_longer(sessions: Sessions, clock: Clock) -> None:
    name = sessions.begin()
    clock.now -= 1
    assert not sessions.has(name)


def test_there_are_so_many_and_the_oldest_goes(sessions: Sessions, clock: Clock) -> None:
    names = []
    for _ in range(MOST + 2):
        clock.now += 1
        names.append(sessions.begin())
    assert [sessions.has(name) for name in names] == [False, False, *[True] * MOST]


def test_one_that_has_ended_opens_nothing(sessions: Sessions) -> None:
    first, second = sessions.begin(), sessions.begin()
    sessions.end(first)
    assert [sessions.has(name) for name in (first, second, "", "x" * 5000, "\udcff")] == [
        False,
        True,
        False,
        False,
        False,
    ]


def test_nor_after_a_restart_where_its_end_could_not_be_written(
    tmp_path: Path, sessions: Sessions, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    name = sessions.begin()
    monkeypatch.setattr("coordinator.api.guard.sessions.write_private", full)
    sessions.end(name)
    assert not Sessions(TOKEN, tmp_path / FILE, clock).has(name)


def test_a_restart_ends_none_and_another_token_ends_all(tmp_path: Path, sessions: Sessions, clock: Clock) -> None:
    name = sessions.begin()
    assert Sessions(TOKEN, tmp_path / FILE, clock).has(name)
    assert not Sessions("another", tmp_path / FILE, clock).has(name)


def test_what_is_on_disk_opens_nothing(tmp_path: Path, sessions: Sessions) -> None:
    name = sessions.begin()
    text = (tmp_path / FILE).read_text()
    assert name not in text
    assert TOKEN not in text
    assert not any(sessions.has(kept) for kept in json.loads(text))
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[]", '{"a": "b"}', "\xff"])
def test_a_file_that_cannot_be_read_is_none(tmp_path: Path, clock: Clock, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    (tmp_path / FILE).chmod(0o600)
    sessions = Sessions(TOKEN, tmp_path / FILE, clock)
    assert sessions.has(sessions.begin())


def test_a_file_that_others_have_a_hand_in_is_refused_as_the_token_is(
    tmp_path: Path, sessions: Sessions, clock: Clock
) -> None:
    sessions.begin()
    (tmp_path / FILE).chmod(0o606)
    with pytest.raises(Exposed, match="chmod 600"):
        Sessions(TOKEN, tmp_path / FILE, clock)


def test_where_nothing_can_be_written_one_begins_all_the_same(tmp_path: Path, clock: Clock) -> None:
    sessions = Sessions(TOKEN, tmp_path / "nowhere" / FILE, clock)
    assert sessions.has(sessions.begin())


def test_the_token_is_the_token(sessions: Sessions) -> None:
    assert [sessions.is_token(given) for given in (TOKEN, "", "t0ken2", "\udcff")] == [True, False, False, False]


def test_reading_needs_the_cookie_alone(sessions: Sessions) -> None:
    assert known(Asked(sessions, cookie=sessions.begin()))
    assert not known(Asked(sessions, cookie="guessed"))
    assert not known(Asked(sessions))


def test_over_tls_a_cookie_that_was_set_in_the_clear_is_none(sessions: Sessions) -> None:
    asked = Asked(sessions, secure=True)
    asked.cookies = {cookie_of(False): sessions.begin()}
    assert not known(asked)


def test_files_of_the_page_are_anybodys(sessions: Sessions) -> None:
    assert known(Asked(sessions, path="/page/app.js"))
    assert not known(Asked(sessions, path="/page/app.js/"))


def test_a_change_by_our_own_page_is_made(sessions: Sessions) -> None:
    name = sessions.begin()
    for origin in ("http://segwatch.example:8600", "https://segwatch.example:8600"):
        assert known(Asked(sessions, "POST", cookie=name, Origin=origin, **{CSRF: sessions.word(name)}))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "OPTIONS"])
@pytest.mark.parametrize(
    ("origin", "word"),
    [
        ("http://segwatch.example:8600", ""),
        ("http://segwatch.example:8600", "guessed"),
        ("http://segwatch.example:8600", "another"),
        ("http://evil.example", "right"),
        ("http://segwatch.example", "right"),
        ("http://segwatch.example:8601", "right"),
        ("null", "right"),
        ("", "right"),
    ],
)  # fmt: skip
def test_a_change_by_another_page_is_refused(sessions: Sessions, method: str, origin: str, word: str) -> None:
    name, another = sessions.begin(), sessions.begin()
    said = {"right": sessions.word(name), "another": sessions.word(another)}.get(word, word)
    headers = {CSRF: said} | ({"Origin": origin} if origin else {})
    with pytest.raises(ApiError, match="must come from the coordinator's own page") as caught:
        known(Asked(sessions, method, cookie=name, **headers))  # type: ignore[arg-type]
    assert caught.value.status == 403


def test_over_tls_a_page_in_the_clear_is_another(sessions: Sessions) -> None:
    assert is_same_origin(Asked(sessions, secure=True, Origin="https://segwatch.example:8600"))  # type: ignore[arg-type]
    assert not is_same_origin(Asked(sessions, secure=True, Origin="http://segwatch.example:8600"))  # type: ignore[arg-type]


def test_who_has_the_token_needs_no_word(sessions: Sessions) -> None:
    asked = Asked(sessions, "POST", cookie=sessions.begin(), Authorization=f"Bearer {TOKEN}")
    assert not known(asked), "the token itself is looked at"


def test_a_word_of_strange_bytes_is_refused(sessions: Sessions) -> None:
    name = sessions.begin()
    asked: Any = SimpleNamespace(
        app={SESSIONS: sessions}, secure=False, headers={"Host": "a", "Origin": "http://a", CSRF: "\udcff"}
    )
    with pytest.raises(ApiError):
        check_change(asked, name)
