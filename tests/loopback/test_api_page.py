"""The page over TCP: what is open, what a login gives, and what it takes to change something with it."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.api.guard.sessions import CSRF
from tests.support import sample
from tests.support.page_coordinator import PageCoordinator
from tests.support.web_certificate import issue, make_ca


class Browser:
    """Asks as one does, and keeps its cookie."""

    def __init__(self, coordinator: PageCoordinator, trusting: ssl.SSLContext | None) -> None:
        self.coordinator, self.trusting = coordinator, trusting
        self.cookie = self.set_cookie = ""

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        port = self.coordinator.port
        made = http.client.HTTPSConnection("127.0.0.1", port, context=self.trusting) if self.trusting else http.client.HTTPConnection("127.0.0.1", port)  # fmt: skip
        with contextlib.closing(made):
            data = None if body is None else json.dumps(body).encode()
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            made.request(method, path, data, given | ({"Cookie": self.cookie} if self.cookie else {}))
            answer = made.getresponse()
            self.set_cookie = answer.headers.get("Set-Cookie", "")
            text = answer.read()
        return answer.status, json.loads(text) if answer.headers["Content-Type"].startswith(
            "application/json"
        ) else text


@pytest.fixture(params=["loopback", "others"])
def browser(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Browser]:
    trusting = certificate = None
    if request.param == "others":
        ca = make_ca(tmp_path / "pki")
        certificate = issue(ca, tmp_path, "127.0.0.1")
        trusting = ssl.create_default_context(cafile=ca / "ca.pem")
    coordinator = PageCoordinator(tmp_path / "state", sample.Estate(), certificate=certificate)
    with coordinator.running():
        yield Browser(coordinator, trusting)


def test_the_page_is_open_and_what_it_shows_is_as_the_api_is(browser: Browser) -> None:
    reads = browser.trusting is None
    assert b"<title>segwatch</title>" in browser.ask("GET", "/")[1]
    assert browser.ask("GET", "/page/app.js")[0] == 200
    assert browser.ask("GET", "/page/../app.py")[0] in {401, 404}
    assert browser.ask("GET", "/api/v1/session")[1] == {
        "logged_in": False,
        "reads": reads,
        "header": CSRF,
        "csrf": None,
    }
    for path in ("/api/v1/status", "/api/v1/matrix", "/metrics"):
        assert browser.ask("GET", path)[0] == (200 if reads else 401)
    if not reads:
        assert browser.ask("GET", "/api/v1/events")[0] == 401
    assert browser.ask("POST", "/api/v1/stop", {}, Origin=browser.coordinator.url)[0] == 401
    assert browser.coordinator.stopped == []


def test_a_login_gives_a_cookie_that_reads_and_a_word_that_changes(browser: Browser) -> None:
    coordinator, ours = browser.coordinator, browser.coordinator.url
    session, stop = "/api/v1/session", "/api/v1/stop"
    assert browser.ask("POST", session, {"token": "guessed"}, Origin=ours)[0] == 401
    assert browser.ask("POST", session, {"token": 1}, Origin=ours)[0] == 401
    assert browser.ask("POST", session, {"token": coordinator.token}, Origin="https://evil.example")[0] == 403
    assert browser.set_cookie == ""
    status, body = browser.ask("POST", session, {"token": coordinator.token}, Origin=ours)
    assert (status, body["logged_in"], body["header"]) == (200, True, CSRF)
    value, *flags = browser.set_cookie.split("; ")
    secure = {"Secure"} if browser.trusting else set()
    assert set(flags) == {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} | secure
    assert value.startswith("__Host-segwatch=" if browser.trusting else "segwatch=")
    assert coordinator.token not in value
    browser.cookie = value
    assert browser.ask("GET", "/api/v1/status")[0] == 200
    assert browser.ask("GET", session)[1]["csrf"] == body["csrf"]
    word = {CSRF: body["csrf"]}
    for headers in (
        {},
        {"Origin": ours},
        word,
        {"Origin": "https://evil.example", **word},
        {"Origin": ours, CSRF: "guessed"},
    ):
        assert browser.ask("POST", stop, {"reason": "r"}, **headers)[0] == 403, headers
    assert coordinator.stopped == []
    assert browser.ask("POST", stop, {"reason": "r", "by": "olga"}, Origin=ours, **word)[0] == 200
    assert coordinator.stopped == [("r", "olga")]
    assert browser.ask("DELETE", session, Origin=ours)[0] == 403
    assert browser.ask("DELETE", session, Origin=ours, **word)[0] == 200
    assert browser.ask("POST", stop, {}, Origin=ours, **word)[0] == 401
    if browser.trusting:
        assert browser.ask("GET", "/api/v1/status")[0] == 401


def test_who_has_the_token_asks_as_before(browser: Browser) -> None:
    bearer = f"Bearer {browser.coordinator.token}"
    assert browser.ask("GET", "/api/v1/status", Authorization=bearer)[0] == 200
    assert browser.ask("POST", "/api/v1/stop", {"reason": "r"}, Authorization=bearer)[0] == 200
    assert browser.ask("POST", "/api/v1/stop", {}, Authorization="Bearer guessed")[0] == 401
    assert browser.coordinator.stopped == [("r", "")]
