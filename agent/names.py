"""Looks names up as this host does, all at once and bounded in time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import structlog

from reachability.observation import Lookup
from wire.messages import MOST_NAMES, Resolve, Resolved
from wire.process.blocking import in_thread

NAME_S = 3.0
EXPLAIN_S = 2.0
MOST_AT_ONCE = 32
MOST_ADDRESSES = 64

AddressInfo = list[tuple[Any, ...]]
log = structlog.get_logger("agent")


def look_up(name: str) -> AddressInfo:
    """A and AAAA of a name, by the host's own resolver; blocks."""
    return list(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))


async def resolve(
    request: Resolve,
    lookup: Callable[[str], AddressInfo] = look_up,
    explained: Callable[[Lookup], Lookup] | None = None,
) -> Resolved:
    """Answer a `Resolve`: every name with its addresses, or with the problem in words.

    `explained` adds where they come from; it blocks. What it does not say within two seconds is left out.
    """
    slots = asyncio.Semaphore(MOST_AT_ONCE)

    async def one(name: str) -> Lookup:
        async with slots:
            found = await _resolve_one(name, lookup)
            return found if explained is None else await _explain(found, explained)

    lookups = await asyncio.gather(*(one(name) for name in request.names[:MOST_NAMES]))
    left_out = (Lookup(name=name, problem="too many names in one request") for name in request.names[MOST_NAMES:])
    return Resolved(id=request.id, lookups=(*lookups, *left_out))


async def _resolve_one(name: str, lookup: Callable[[str], AddressInfo]) -> Lookup:
    try:
        async with asyncio.timeout(NAME_S):
            found = await in_thread(lambda: lookup(name), f"resolve {name[:40]}")
    except TimeoutError:
        return Lookup(name=name, problem=f"no answer within {NAME_S:.0f} s")
    except (OSError, UnicodeError) as error:
        return Lookup(name=name, problem=getattr(error, "strerror", "") or str(error))
    addresses = tuple(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    return Lookup(name=name, addresses=addresses[:MOST_ADDRESSES])


async def _explain(found: Lookup, explained: Callable[[Lookup], Lookup]) -> Lookup:
    try:
        async with asyncio.timeout(EXPLAIN_S):
            return await in_thread(lambda: explained(found), f"explain {found.name[:40]}")
    except Exception as error:  # noqa: BLE001 - it only explains: whatever a server made of it, the answer stands
        log.debug("where a name comes from is not known", name=found.name, problem=str(error) or type(error).__name__)
        return found
