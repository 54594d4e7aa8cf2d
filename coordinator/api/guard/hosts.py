"""The names that the API answers to: a page of another site must not reach it by a name that leads here (DNS rebinding)."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web

from coordinator.api.auth import LOOPBACK_NAMES, ApiError, Handler, name_of
from reachability.topology import is_address

NAMES = web.AppKey("names", frozenset[str])


def is_known(name: str, names: Collection[str]) -> bool:
    """Whether a request for this host is meant for us. An address is nobody's to rebind: a browser got it from its user."""
    return is_address(name) or name in LOOPBACK_NAMES or name in names


@web.middleware
async def known_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer only what was asked by an address or by a name that this coordinator has, whatever the path."""
    given, names = request.headers.getall("Host", []), request.app[NAMES]
    if len(given) == 1 and is_known(name_of(given[0]), names):
        return await handler(request)
    raise ApiError(421, "this coordinator does not answer to that name; those that it has are named by --web-name")
