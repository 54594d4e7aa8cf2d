"""The HTTP API: JSON under /api/v1, `/healthz` and `/metrics`; over a Unix socket in the state directory, and with `--web`.

Who can open the socket (mode 0600) is the coordinator's owner. Over TCP, whatever changes something needs the token in
`STATE_DIR/token`; reading needs it too unless it listens on loopback, and there only names of loopback are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web

from coordinator import explained, metrics, views
from coordinator.broker import Listen
from coordinator.exchanges import Exchanges
from coordinator.explained import NothingToExplainError
from coordinator.tasks import costs, tasks
from coordinator.tracing import CannotTraceError, trace
from coordinator.web_access import FROM_SOCKET, OPEN, TOKEN, ApiError, allowed, is_loopback, token_of

if TYPE_CHECKING:  # the daemon serves this API
    from coordinator.daemon import Daemon

SOCKET = "coordinator.sock"
SHUTDOWN_S = 0.3
MOST_BODY = 64 * 1024

log = structlog.get_logger("web")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """Answers for one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    @contextlib.asynccontextmanager
    async def serving(self, state_dir: Path, listen: Listen | None) -> AsyncIterator[None]:
        """Serve on the socket, and on TCP where asked to. OSError when an address cannot be had."""
        runners = []
        try:
            runner = await _runner(self._app(from_socket=True, token="", is_open=True))
            runners.append(runner)
            await _listen_on(runner, state_dir / SOCKET)
            if listen is not None:
                loopback = listen.host == "localhost" or is_loopback(listen.host)
                runner = await _runner(self._app(from_socket=False, token=token_of(state_dir), is_open=loopback))
                runners.append(runner)
                await web.TCPSite(runner, listen.host or None, listen.port).start()
            yield
        finally:
            for runner in runners:
                await runner.cleanup()
            (state_dir / SOCKET).unlink(missing_ok=True)

    def _app(self, *, from_socket: bool, token: str, is_open: bool) -> web.Application:
        app = web.Application(middlewares=[_errors, allowed], client_max_size=MOST_BODY)
        app[FROM_SOCKET], app[TOKEN], app[OPEN] = from_socket, token, is_open
        v1 = "/api/v1"
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/metrics", self._metrics),
                web.get(f"{v1}/status", self._status),
                web.get(f"{v1}/matrix", self._matrix),
                web.get(f"{v1}/findings", self._findings),
                web.get(f"{v1}/findings/{{id}}", self._finding),
                web.get(f"{v1}/findings/{{id}}/packets", self._packets),
                web.post(f"{v1}/findings/{{id}}/ack", self._acknowledge),
                web.get(f"{v1}/coverage", self._coverage),
                web.get(f"{v1}/history", self._history),
                web.get(f"{v1}/explain", self._explain),
                web.get(f"{v1}/plan", self._plan),
                web.post(f"{v1}/trace", self._trace),
                web.post(f"{v1}/verify", self._verify),
                web.get(f"{v1}/runs/{{id}}", self._run),
                web.post(f"{v1}/runs/{{id}}/end", self._end_run),
                web.post(f"{v1}/stop", self._stop),
                web.post(f"{v1}/resume", self._resume),
            ]
        )
        return app

    # -- reading --------------------------------------------------------------------------------------------------

    async def _healthz(self, _: web.Request) -> web.Response:
        broker = self._daemon.link.connected
        body = {"status": "ok" if broker else "degraded", "broker": broker}
        return web.json_response(body, status=200 if broker else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        estate = self._daemon.estate
        text = metrics.exposition(
            estate.topology, estate.cells(), estate.book.findings, estate.agents.values(), self._daemon.engine.durations
        )
        return web.Response(text=text, headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _status(self, _: web.Request) -> web.Response:
        estate = self._daemon.estate
        body = views.status(
            estate.topology,
            estate.agents.values(),
            estate.cells(),
            estate.book.findings,
            now=estate.clock(),
            **self._daemon.more_status(),
        )
        return _json(body)

    async def _matrix(self, request: web.Request) -> web.Response:
        estate = self._daemon.estate
        run = request.query.get("run")
        if run is not None and self._daemon.runs.body(run, with_cells=False) is None:
            raise ApiError(404, f"there is no run '{run}'")
        return _json(views.matrix(estate.topology, estate.cells(run=run), with_cells=_is_set(request, "cells")))

    async def _findings(self, _: web.Request) -> web.Response:
        estate = self._daemon.estate
        return _json(views.findings(estate.topology, estate.book.findings))

    async def _finding(self, request: web.Request) -> web.Response:
        estate = self._daemon.estate
        name = request.match_info["id"]
        found = estate.book.get(name)
        if found is None:
            raise self._no_finding(name)
        return _json(views.finding_body(estate.topology, found))

    async def _coverage(self, _: web.Request) -> web.Response:
        estate = self._daemon.estate
        return _json(views.coverage_body(estate.topology, estate.cells()))

    async def _history(self, _: web.Request) -> web.Response:
        estate = self._daemon.estate
        book = {finding.id: finding for finding in estate.book.findings}
        return _json(views.history(estate.store.events(), estate.topology, book))

    async def _explain(self, request: web.Request) -> web.Response:
        return _json(self._explained(request.query))

    def _explained(self, query: Mapping[str, Any]) -> views.Body:
        estate = self._daemon.estate
        cells, exchanges = estate.cells(), Exchanges(estate.store.group_of)
        if "finding" in query:
            found = estate.book.get(query["finding"])
            if found is None:
                raise self._no_finding(query["finding"])
            events = estate.store.events()
            return explained.explain_finding(estate.topology, estate.plan, cells, found, events, exchanges)
        missing = [name for name in ("from", "to", "port") if name not in query]
        if missing:
            raise ApiError(400, f"explain needs finding, or from, to and port; {', '.join(missing)} is not given")
        asked = (query["from"], query["to"], query["port"])
        return explained.explain_cell(estate.topology, estate.plan, cells, asked, exchanges)

    async def _packets(self, request: web.Request) -> web.Response:
        estate, name = self._daemon.estate, request.match_info["id"]
        found = estate.book.get(name)
        if found is None:
            raise self._no_finding(name)
        return _json({"finding": found.id, "exchanges": Exchanges(estate.store.group_of).of_finding(found)})

    async def _plan(self, _: web.Request) -> web.Response:
        estate = self._daemon.estate
        by_agent = {agent: [_task(task) for task in tasks(estate.plan, agent)] for agent in estate.topology.agents()}
        cost = [
            {name: getattr(entry, name) for name in entry.__dataclass_fields__}
            for entry in costs(estate.topology, estate.plan)
        ]
        return _json({"topology": estate.topology.digest, "agents": by_agent, "costs": cost})

    async def _run(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        body = self._daemon.runs.body(name, with_cells=_is_set(request, "cells"))
        if body is None:
            raise ApiError(404, f"there is no run '{name}'; a coordinator that was restarted has forgotten its runs")
        return _json(body)

    # -- steering -------------------------------------------------------------------------------------------------

    async def _acknowledge(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        body = await _body(request)
        by, reason = body.get("by"), body.get("reason")
        if not isinstance(by, str) or not isinstance(reason, str):
            raise ApiError(400, "an acknowledgement needs `by` and `reason`")
        try:
            self._daemon.estate.acknowledge(name, by, reason)
        except KeyError:
            raise self._no_finding(name) from None
        except ValueError as error:
            raise ApiError(409, str(error)) from error
        found = self._daemon.estate.book.get(name)
        assert found is not None
        return _json({"id": name, "status": found.status.value})

    async def _verify(self, request: web.Request) -> web.Response:
        body = await _body(request)
        source, destination = body.get("from"), body.get("to")
        if not all(name is None or isinstance(name, str) for name in (source, destination)):
            raise ApiError(400, "`from` and `to` are names of environments")
        try:
            run = self._daemon.runs.ask(sweep=bool(body.get("sweep")), source=source, destination=destination)
        except ValueError as error:
            raise ApiError(400, str(error)) from error
        return _json({"run": run})

    async def _trace(self, request: web.Request) -> web.Response:
        """What `explain` says, and by which hops the cell's packets go now: takes seconds."""
        asked = {name: value for name, value in (await _body(request)).items() if isinstance(value, str)}
        body = self._explained(asked)
        try:
            found = await trace(self._daemon.estate, self._daemon.engine, body)
        except CannotTraceError as error:
            raise ApiError(409, str(error)) from error
        return _json({**body, "trace": found})

    async def _end_run(self, request: web.Request) -> web.Response:
        return _json({"ended": await self._daemon.runs.end(request.match_info["id"])})

    async def _stop(self, request: web.Request) -> web.Response:
        body = await _body(request)
        await self._daemon.engine.stop(str(body.get("reason") or "stopped"))
        return _json({"stopped": self._daemon.engine.stopped})

    async def _resume(self, _: web.Request) -> web.Response:
        self._daemon.engine.resume()
        return _json({"stopped": None})

    def _no_finding(self, name: str) -> ApiError:
        return ApiError(404, f"there is no finding '{name}'; `segwatch findings` lists them")


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is JSON with one sentence."""
    try:
        return await handler(request)
    except ApiError as error:
        return web.json_response({"error": str(error)}, status=error.status)
    except NothingToExplainError as error:
        return web.json_response({"error": str(error)}, status=404)
    except web.HTTPException as error:
        return web.json_response({"error": f"{request.method} {request.path}: {error.reason}"}, status=error.status)
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("a request failed", path=request.path)
        return web.json_response({"error": f"{request.path} failed; the coordinator's log says why"}, status=500)


async def _runner(app: web.Application) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S, handle_signals=False)
    await runner.setup()
    return runner


async def _listen_on(runner: web.AppRunner, path: Path) -> None:
    """A Unix socket of mode 0600 from its first moment on; one that was left behind is replaced."""
    path.unlink(missing_ok=True)  # noqa: ASYNC240 - once, at the start
    before = os.umask(0o177)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        # By way of the directory: the path itself may be longer than a socket address holds.
        await web.UnixSite(runner, f"/proc/self/fd/{directory}/{path.name}").start()
    finally:
        os.close(directory)
        os.umask(before)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.text() or "{}")
    except ValueError as error:
        raise ApiError(400, f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, "the body is no JSON object")
    return body


def _json(body: Any) -> web.Response:
    return web.json_response(body)


def _is_set(request: web.Request, name: str) -> bool:
    return request.query.get(name, "") not in {"", "0", "false"}


def _task(task: Any) -> dict[str, Any]:
    return dict(_fields(task))


def _fields(task: Any) -> Iterator[tuple[str, Any]]:
    for name in task.__struct_fields__:
        value = getattr(task, name)
        yield name, getattr(value, "value", value)
