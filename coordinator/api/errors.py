"""How a request is answered: a struct as JSON; one that fails with one sentence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from aiohttp import web

from coordinator.api.auth import ApiError
from coordinator.api.explain import NothingToExplainError
from coordinator.api.responses.status import Failure
from coordinator.store import StoreError

log = structlog.get_logger("web")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def encoded(body: msgspec.Struct | tuple[msgspec.Struct, ...]) -> bytes:
    """The JSON of an answer."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # the bytes of a file's name that are not UTF-8: Python keeps them as surrogates
        return json.dumps(msgspec.to_builtins(body), ensure_ascii=False).encode("utf-8", "replace")


def as_json(data: bytes, status: int = 200) -> web.Response:
    """An answer that is encoded already."""
    return web.Response(body=data, status=status, content_type="application/json", charset="utf-8")


def answer(body: msgspec.Struct | tuple[msgspec.Struct, ...], status: int = 200) -> web.Response:
    """The one way in which the API answers with JSON."""
    return as_json(encoded(body), status)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is JSON with one sentence."""
    try:
        return await handler(request)
    except ApiError as error:
        return answer(Failure(error=str(error)), error.status)
    except StoreError as error:
        return answer(Failure(error=str(error)), 503)
    except NothingToExplainError as error:
        return answer(Failure(error=str(error)), 404)
    except web.HTTPException as error:
        return answer(Failure(error=f"{request.method} {request.path}: {error.reason}"), error.status)
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("a request failed", path=request.path)
        return answer(Failure(error=f"{request.path} failed; the coordinator's log says why"), 500)
