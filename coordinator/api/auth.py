"""Who may do what over the API: the socket's owner all, others with the token, loopback may read."""

from __future__ import annotations

import contextlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from coordinator.topology.scalars import parse_instant
from wire.keyfiles import check_key, write_private

LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
FROM_SOCKET = web.AppKey("from_socket", bool)
TOKEN = web.AppKey("token", str)
METRICS_TOKEN = web.AppKey("metrics_token", str)  # opens /metrics and nothing else
OPEN = web.AppKey("open", bool)  # reading needs no token
KNOWN: web.AppKey[Callable[[web.Request], bool]] = web.AppKey("known")  # may be answered by a session, or to anybody

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """A request that cannot be answered; the text is for people."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@web.middleware
async def allowed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request through, or say what it lacks."""
    app = request.app
    if app[FROM_SOCKET] or request.path == "/healthz" or app[KNOWN](request):
        return await handler(request)
    # A header may hold any bytes, which aiohttp keeps as surrogates.
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode(errors="surrogateescape")
    held = (app[TOKEN], app[METRICS_TOKEN]) if request.path == "/metrics" else (app[TOKEN],)
    if any(hmac.compare_digest(given, token.encode()) for token in held):
        return await handler(request)
    # A page of some other site must not read it through a name that it points here.
    if request.method == "GET" and app[OPEN] and name_of(request.headers.get("Host", "")) in LOOPBACK_NAMES:
        return await handler(request)
    files = "`metrics-token` or `token`" if request.path == "/metrics" else "`token`"
    raise ApiError(401, f"this needs the token that is in the coordinator's state directory: file {files}")


def name_of(header: str) -> str:
    """The host of a Host header, in small letters, without port and brackets; "" for none."""
    host = header.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def is_set(request: web.Request, name: str) -> bool:
    """Whether a flag of the query is on."""
    return request.query.get(name, "") not in {"", "0", "false"}


def instant(request: web.Request, name: str) -> float | None:
    """A time of the query, in epoch seconds; ValueError for what is none."""
    text = request.query.get(name)
    return None if text is None else parse_instant(text).timestamp()


def read_body(data: bytes) -> dict[str, Any]:
    """The JSON object of a request, {} for none; ApiError for anything else, whatever its own header calls it."""
    try:
        body = msgspec.json.decode(data or b"{}")
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, "the body is not a JSON object")
    return body


def token_of(state_dir: Path, name: str = "token") -> str:
    """A token for TCP, made at the first start."""
    path = state_dir / name
    with contextlib.suppress(FileNotFoundError):
        check_key(path)
        held = path.read_text().strip()
        if held:
            return held
    token = secrets.token_urlsafe(24)
    write_private(path, f"{token}\n".encode())
    return token
