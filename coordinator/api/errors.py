"""What a request that fails is answered with: JSON with one sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from coordinator.api.auth import ApiError
from coordinator.api.explain import NothingToExplainError
from coordinator.store import StoreError

log = structlog.get_logger("web")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is JSON with one sentence."""
    try:
        return await handler(request)
    except ApiError as error:
        return web.json_response({"error": str(error)}, status=error.status)
    except StoreError as error:
        return web.json_response({"error": str(error)}, status=503)
    except NothingToExplainError as error:
        return web.json_response({"error": str(error)}, status=404)
    except web.HTTPException as error:
        return web.json_response({"error": f"{request.method} {request.path}: {error.reason}"}, status=error.status)
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("a request failed", path=request.path)
        return web.json_response({"error": f"{request.path} failed; the coordinator's log says why"}, status=500)
