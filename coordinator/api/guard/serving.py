"""The API on its socket, and on TCP where it was asked for: there with the page, behind TLS, bounds and a name that is ours.

Who asks (by a session, a token) is known between `known_host` and the routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from aiohttp import web

from coordinator.api.auth import FROM_SOCKET, KNOWN, METRICS_TOKEN, OPEN, TOKEN, allowed, token_of
from coordinator.api.errors import errors
from coordinator.api.guard.connections import BODIES, IDLE_S, Places, accept, bounded, whole_body
from coordinator.api.guard.headers import hardened
from coordinator.api.guard.hosts import NAMES, known_host
from coordinator.api.guard.sessions import FILE, PUBLIC, SESSIONS, Sessions, is_known
from coordinator.api.guard.tls import Certificate
from coordinator.api.listen import listen_on, make_runner
from coordinator.broker.addresses import Listen, cannot_listen
from coordinator.settings import Settings

SOCKET = "coordinator.sock"
MOST_BODY = 64 * 1024
_BACKLOG = 128


def application(
    routes: Iterable[web.AbstractRouteDef],
    *,
    from_socket: bool,
    token: str = "",
    metrics_token: str = "",
    is_open: bool = True,
    names: frozenset[str] = frozenset(),
    bodies: Mapping[str, int] = MappingProxyType({}),
    pages: Iterable[web.RouteDef] = (),
    sessions: Sessions | None = None,
) -> web.Application:
    """The routes behind the guard; `from_socket`: whoever can open that may do all. `pages` are open, and there with `sessions`."""
    pages = tuple(pages)
    guard = [errors, allowed, whole_body] if from_socket else [errors, bounded, known_host, allowed, whole_body]
    app = web.Application(middlewares=guard, client_max_size=MOST_BODY)
    app.on_response_prepare.append(hardened)
    app[KNOWN] = is_known if sessions is not None else _nobody
    if sessions is not None:
        app[SESSIONS], app[PUBLIC] = sessions, frozenset(route.path for route in pages)
        app.add_routes(pages)
    app[FROM_SOCKET], app[TOKEN], app[METRICS_TOKEN], app[OPEN] = from_socket, token, metrics_token, is_open
    app[NAMES], app[BODIES] = names, bodies
    app.add_routes(routes)
    return app


def _nobody(_: web.Request) -> bool:
    return False


@contextlib.asynccontextmanager
async def serving(
    settings: Settings,
    routes: Iterable[web.AbstractRouteDef],
    certificate: Certificate | None,
    bodies: Mapping[str, int] = MappingProxyType({}),
    pages: Iterable[web.RouteDef] = (),
) -> AsyncIterator[None]:
    """Serve until the block ends; `bodies` as `BODIES`, `pages` over TCP alone.

    OSError in words where an address or a certificate cannot be used.
    """
    routes, path = tuple(routes), settings.state_dir / SOCKET
    try:
        async with _on_tcp(settings, routes, certificate, bodies, tuple(pages)):
            # The last: whoever sees the socket finds all of it.
            runner = await make_runner(application(routes, from_socket=True, bodies=bodies))
            try:
                await listen_on(runner, path)
                yield
            finally:
                await runner.cleanup()
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)


@contextlib.asynccontextmanager
async def _on_tcp(
    settings: Settings,
    routes: tuple[web.AbstractRouteDef, ...],
    certificate: Certificate | None,
    bodies: Mapping[str, int],
    pages: tuple[web.RouteDef, ...],
) -> AsyncIterator[None]:
    where = settings.web
    if where is None:
        yield
        return
    token = token_of(settings.state_dir)
    app = application(
        routes,
        from_socket=False,
        token=token,
        metrics_token=token_of(settings.state_dir, "metrics-token"),
        is_open=where.is_loopback,
        names=_names(settings, certificate),
        bodies=bodies,
        pages=pages,
        sessions=Sessions(token, settings.state_dir / FILE, time.time),
    )
    runner = await make_runner(app, keepalive_timeout=IDLE_S, auto_decompress=False)
    server, places = runner.server, Places()
    assert server is not None
    try:
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(one) for one in await _bound(where)]
            async with asyncio.TaskGroup() as group:
                context = certificate.context if certificate is not None else None
                tasks = [group.create_task(accept(one, places, server, context), name="API") for one in sockets]
                try:
                    yield
                finally:
                    await runner.cleanup()
                    for task in tasks:
                        task.cancel()
    finally:
        await runner.cleanup()  # of what failed before it served


def _names(settings: Settings, certificate: Certificate | None) -> frozenset[str]:
    own = (settings.web.host if settings.web else "", *(where.host for where in settings.advertise))
    given = {name.lower() for name in (*own, *settings.web_names)}
    return frozenset(given - {""}) | (certificate.names if certificate is not None else frozenset())


async def _bound(where: Listen) -> list[socket.socket]:
    loop, made = asyncio.get_running_loop(), list[socket.socket]()
    try:
        found = await loop.getaddrinfo(where.host or None, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            made.append(socket.create_server(address, family=family, backlog=_BACKLOG))
            made[-1].setblocking(False)
    except OSError as error:
        for one in made:
            one.close()
        raise OSError(cannot_listen("the API (--web)", where.endpoint, error)) from error
    return made


def certificate_of(settings: Settings) -> Certificate | None:
    """What the API shows; the embedded broker's own is there once that has started."""
    if settings.web is None or settings.web_cert is None or settings.web_key is None:
        return None
    return Certificate(settings.web_cert, settings.web_key)


def check(settings: Settings) -> None:
    """Say before anything starts what is wrong about the certificate: as `Certificate`."""
    brokers: Path = settings.pki / "broker.pem"
    if settings.web_cert is not None and (settings.broker or settings.web_cert.absolute() != brokers.absolute()):
        certificate_of(settings)
