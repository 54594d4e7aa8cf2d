"""Logging in and out: `/api/v1/session`."""

from __future__ import annotations

from aiohttp import web

from coordinator.api.auth import OPEN, ApiError, read_body
from coordinator.api.errors import answer
from coordinator.api.guard.sessions import (
    CSRF,
    SESSIONS,
    check_change,
    cookie_of,
    is_same_origin,
    session_of,
    set_cookie,
)
from coordinator.api.responses.status import Session

PATH = "/api/v1/session"


def routes() -> list[web.RouteDef]:
    """Open to everybody: each looks by itself at who asks."""
    return [web.get(PATH, shown), web.post(PATH, begin), web.delete(PATH, end)]


async def shown(request: web.Request) -> web.Response:
    """Whether the browser has a session, and what it has to say with a change."""
    return answer(_body(request, session_of(request)))


async def begin(request: web.Request) -> web.Response:
    """Take the token once, and give a cookie for it."""
    sessions = request.app[SESSIONS]
    if not is_same_origin(request):
        raise ApiError(403, "a login must come from the coordinator's own page; load it again")
    token = read_body(await request.read()).get("token")
    if not (isinstance(token, str) and sessions.is_token(token.strip())):
        raise ApiError(401, "this is not the token that is in the coordinator's state directory: file `token`")
    if before := session_of(request):
        sessions.end(before)
    name = sessions.begin()
    response = answer(_body(request, name))
    set_cookie(response, request, name)
    return response


async def end(request: web.Request) -> web.Response:
    """End the session that the browser has; without one there is nothing to end."""
    if name := session_of(request):
        check_change(request, name)
        request.app[SESSIONS].end(name)
    response = answer(_body(request, ""))
    response.del_cookie(cookie_of(request.secure), path="/", secure=request.secure, httponly=True, samesite="Strict")
    return response


def _body(request: web.Request, name: str) -> Session:
    word = request.app[SESSIONS].word(name) if name else None
    return Session(logged_in=bool(name), reads=bool(name) or request.app[OPEN], header=CSRF, csrf=word)
