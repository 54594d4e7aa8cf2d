"""Browsers that have shown the token once: a random name in a cookie stands for it, and a change needs a word besides.

A session is kept as an HMAC under the token: what is on disk opens nothing, a restart ends none, and another token ends all.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec
from aiohttp import web

from coordinator.api.auth import ApiError
from wire.keyfiles import check_key, write_private

MOST = 64  # the oldest goes
LIFE_S = 12 * 3600.0
FILE = "sessions"
CSRF = "X-Segwatch-CSRF"
READING = frozenset({"GET", "HEAD"})
PUBLIC = web.AppKey("public", frozenset[str])  # paths that anybody may ask for: the page's own files, and the login
_LONGEST = 128  # characters of a cookie that can be a session's


class Sessions:
    """Those of one coordinator; `now` gives epoch seconds."""

    def __init__(self, token: str, path: Path, now: Callable[[], float]) -> None:
        """`path` is where they are kept: one that cannot be read is as good as none. Exposed where others can."""
        self._token, self._path, self._now = token.encode(), path, now
        self._until: dict[str, float] = {}
        with contextlib.suppress(OSError, ValueError):
            check_key(path)
            self._until = msgspec.json.decode(path.read_bytes(), type=dict[str, float])

    def is_token(self, given: str) -> bool:
        """Whether this is the coordinator's token, in a time that says nothing about it."""
        return hmac.compare_digest(given.encode(errors="surrogateescape"), self._token)

    def begin(self) -> str:
        """The name of a new session, for `LIFE_S`."""
        name = secrets.token_urlsafe(32)
        self._until[self._kept(name)] = self._now() + LIFE_S
        self._trim()
        self._write()
        return name

    def end(self, name: str) -> None:
        """It opens nothing any more."""
        self._until.pop(self._kept(name), None)
        self._write()

    def has(self, name: str) -> bool:
        """Whether it was begun, has not ended and is not too old; one of the future (the clock was set back) is."""
        until = self._until.get(self._kept(name), 0.0) if 0 < len(name) <= _LONGEST else 0.0
        return 0.0 < until - self._now() <= LIFE_S

    def word(self, name: str) -> str:
        """What a page of ours has to say with a change: another site's can neither read nor guess it."""
        return self._mac("csrf", name)

    def _kept(self, name: str) -> str:
        return self._mac("session", name)

    def _mac(self, what: str, name: str) -> str:
        text = f"{what} {name}".encode(errors="surrogateescape")
        return hmac.new(self._token, text, hashlib.sha256).hexdigest()

    def _trim(self) -> None:
        now = self._now()
        standing = {name: until for name, until in self._until.items() if 0.0 < until - now <= LIFE_S}
        self._until = dict(sorted(standing.items(), key=lambda one: one[1])[-MOST:])

    def _write(self) -> None:
        try:
            write_private(self._path, msgspec.json.encode(self._until))
        except OSError:
            # A disk that is full lets people in all the same, until the next restart; who has left stays out.
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)


SESSIONS = web.AppKey("sessions", Sessions)


def cookie_of(secure: bool) -> str:
    """Its name: over TLS one that no other host and no page in the clear can set."""
    return "__Host-segwatch" if secure else "segwatch"


def session_of(request: web.Request) -> str:
    """The session that a request has; "" for none that stands."""
    name = request.cookies.get(cookie_of(request.secure), "")
    return name if request.app[SESSIONS].has(name) else ""


def is_same_origin(request: web.Request) -> bool:
    """Whether a page of ours asks. In front of a port without TLS may stand a proxy that has it."""
    host = request.headers.get("Host", "").strip().lower()
    ours = {f"https://{host}", *(() if request.secure else (f"http://{host}",))}
    return request.headers.get("Origin", "").lower() in ours


def check_change(request: web.Request, name: str) -> None:
    """ApiError where it is not a page of ours that wants something changed in a session."""
    given = request.headers.get(CSRF, "").encode(errors="surrogateescape")
    said = hmac.compare_digest(given, request.app[SESSIONS].word(name).encode())
    if not (said and is_same_origin(request)):
        raise ApiError(403, "a change in a browser's session must come from the coordinator's own page; load it again")


def is_known(request: web.Request) -> bool:
    """Whether it asks for a page's file, or has a session. ApiError for a change that no page of ours wants."""
    if request.path in request.app[PUBLIC]:
        return True
    if "Authorization" in request.headers or not (name := session_of(request)):
        return False
    if request.method not in READING:
        check_change(request, name)
    return True


def set_cookie(response: web.Response, request: web.Request, name: str) -> None:
    """Have the browser keep a session where no script reads it, and where no other site can use it."""
    response.set_cookie(
        cookie_of(request.secure), name, max_age=int(LIFE_S), path="/", secure=request.secure, httponly=True, samesite="Strict"
    )  # fmt: skip
