"""The HTTP API: JSON under /api/v1, `/healthz` and `/metrics`; over a Unix socket in the state directory, and with `--web`.

With `--web` the page is at `/`, too (`coordinator.api.live`). Whoever can open the socket (mode 0600) is the coordinator's
owner. Over TCP, whatever changes something needs the token in `STATE_DIR/token`, or a browser's session that was begun
with it; reading needs it too, or for `/metrics` the one in `STATE_DIR/metrics-token`, unless it listens on loopback and is asked
by a name of loopback; `/healthz` needs none. What stands before the routes is in `coordinator.api.guard`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from coordinator.api import agents, auth, explain, views
from coordinator.api.auth import ApiError, is_set, read_body
from coordinator.api.errors import answer, as_json, encoded
from coordinator.api.explain import Shown
from coordinator.api.guard.serving import certificate_of, serving
from coordinator.api.guard.tls import Certificate
from coordinator.api.live import events, files, login
from coordinator.api.live.picture import picture_of
from coordinator.api.proposed import draft, what_if
from coordinator.api.report import report, snapshot
from coordinator.api.responses.estate import Taken
from coordinator.api.responses.packets import Packets
from coordinator.api.responses.proof import Explanation
from coordinator.api.responses.runs import Asked, Ended, Stopped
from coordinator.api.responses.status import Health, Status
from coordinator.api.traced import trace_body
from coordinator.api.verify import body_of, known
from coordinator.messaging.floods import Floods
from coordinator.packets.exchanges import Exchanges
from coordinator.rounds.engine import Engine
from coordinator.rounds.trace import NOT_PLANNED, CannotTraceError, trace
from coordinator.rounds.verify_runs import Runs
from coordinator.rounds.verify_runs import Stopped as AllStopped
from coordinator.settings import Settings
from coordinator.state.estate import Estate
from coordinator.state.situation import situation_now

MOST_WORDS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What the API shows and steers."""

    estate: Estate
    engine: Engine
    runs: Runs
    floods: Floods
    refused: Mapping[tuple[str, str], int]  # messages, by agent and cause
    connected: Callable[[], bool]  # to the broker
    status: Callable[[], Status]
    certificates: Callable[[], Mapping[str, tuple[float, float]]]  # holder -> from when until when, epoch seconds


class Api:
    """Answers for one coordinator."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._certificate: Certificate | None = None
        picture = picture_of(
            served.estate, served.status, lambda: (served.engine.brake.halt, served.connected()), time.monotonic
        )
        self._events = events.Events(picture, served.estate.clock, time.monotonic)

    def serving(self, settings: Settings) -> AbstractAsyncContextManager[None]:
        """Serve on the socket, and on TCP where asked to. OSError when an address or the certificate cannot be used."""
        self._certificate = certificate_of(settings)
        bodies = {what_if.WHAT_IF: what_if.MOST_BODY}
        return serving(settings, self.routes(), self._certificate, bodies, [*files.routes(), *login.routes()])

    @property
    def certificate(self) -> tuple[float, float]:
        """From when until when its own is valid, epoch seconds; zeros without one."""
        return self._certificate.valid if self._certificate is not None else (0.0, 0.0)

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        v1 = "/api/v1"
        return [
            web.get("/healthz", self._healthz),
            web.get("/metrics", self._metrics),
            web.get(f"{v1}/status", self._status),
            web.get(events.PATH, self._events.stream),
            web.get(f"{v1}/matrix", self._matrix),
            web.get(f"{v1}/findings", self._findings),
            web.get(f"{v1}/findings/{{id}}", self._finding),
            web.get(f"{v1}/findings/{{id}}/packets", self._packets),
            web.post(f"{v1}/findings/{{id}}/ack", self._acknowledge),
            web.get(f"{v1}/coverage", self._coverage),
            web.get(f"{v1}/history", self._history),
            web.get(f"{v1}/gaps", self._gaps),
            web.get(f"{v1}/report", self._report),
            web.get(f"{v1}/explain", self._explain),
            web.get(f"{v1}/names", self._names),
            web.get(f"{v1}/plan", self._plan),
            web.get(f"{v1}/draft", partial(draft.answered, estate=self._served.estate)),
            web.post(f"{v1}/trace", self._trace),
            web.post(f"{v1}/verify", self._verify),
            web.post(what_if.WHAT_IF, partial(what_if.answered, estate=self._served.estate)),
            web.get(f"{v1}/runs", self._known_runs),
            web.get(f"{v1}/runs/{{id}}", self._run),
            web.post(f"{v1}/runs/{{id}}/end", self._end_run),
            web.post(f"{v1}/stop", self._stop),
            web.post(f"{v1}/resume", self._resume),
        ]

    # -- reading --------------------------------------------------------------------------------------------------

    async def _healthz(self, _: web.Request) -> web.Response:
        broker, store = self._served.connected(), not self._served.estate.problem
        well = broker and store
        return answer(Health(status="ok" if well else "degraded", broker=broker, store=store), 200 if well else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        from coordinator.api import metrics  # noqa: PLC0415 - the library takes its time, and not everybody scrapes

        estate = self._served.estate
        engine, served = self._served.engine, self._served
        text = metrics.exposition(
            estate.topology, estate.cells(), estate.book.findings, estate.agents.values(), engine.durations,
            losses=estate.losses, floods=served.floods, certificates=served.certificates(), refused=served.refused,
            faults=engine.judging.faults,
        )  # fmt: skip
        return web.Response(text=text, headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _status(self, _: web.Request) -> web.Response:
        return answer(self._served.status())

    async def _matrix(self, request: web.Request) -> web.Response:
        estate = self._served.estate
        run = request.query.get("run")
        if run is not None and self._served.runs.get(run) is None:
            raise ApiError(404, f"there is no run '{run}'")
        pair = (request.query.get("source"), request.query.get("destination"))
        return answer(
            views.matrix(estate.topology, estate.cells(run=run), with_cells=is_set(request, "cells"), told=pair)
        )

    async def _findings(self, _: web.Request) -> web.Response:
        estate = self._served.estate
        return answer(views.findings(estate.topology, estate.book.findings))

    async def _finding(self, request: web.Request) -> web.Response:
        estate = self._served.estate
        name = request.match_info["id"]
        found = estate.book.get(name)
        if found is None:
            raise self._no_finding(name)
        return answer(views.finding_body(estate.topology, found))

    async def _coverage(self, _: web.Request) -> web.Response:
        estate = self._served.estate
        return answer(views.coverage_body(estate.topology, estate.cells(), estate.losses))

    async def _history(self, _: web.Request) -> web.Response:
        estate = self._served.estate
        book = {finding.id: finding for finding in estate.book.findings}
        return answer(views.history(estate.store.events(), estate.topology, book))

    async def _gaps(self, _: web.Request) -> web.Response:
        estate = self._served.estate
        return answer(agents.gaps_body(estate.topology, estate.store.gaps()))

    async def _report(self, request: web.Request) -> web.Response:
        """Of one moment; put together in a thread, so that rounds go on meanwhile."""
        try:
            since, until = (auth.instant(request, name) for name in ("since", "until"))
            taken = snapshot(self._served.estate, since, until)
        except ValueError as error:
            raise ApiError(400, str(error)) from error
        return as_json(await asyncio.to_thread(lambda: encoded(report(taken))))

    async def _explain(self, request: web.Request) -> web.Response:
        return answer(self._explained(request.query)[0])

    def _explained(self, query: Mapping[str, Any]) -> tuple[Explanation, Shown | None]:
        """The body, and the cell that it is about."""
        estate = self._served.estate
        cells, exchanges = estate.cells(), Exchanges(estate.store.group_of)
        if "finding" in query:
            found = estate.book.get(query["finding"])
            if found is None:
                raise self._no_finding(query["finding"])
            shown = explain.of_finding(estate.plan, cells, found)
            body = explain.explain_finding(situation_now(estate), found, shown, estate.store.events(), exchanges)
            return explain.named(estate, body, shown), shown
        if missing := [name for name in ("from", "to", "port") if name not in query]:
            raise ApiError(400, f"explain needs finding, or from, to and port; {', '.join(missing)} is not given")
        asked = explain.find_cell(estate.plan, cells, (query["from"], query["to"], query["port"]))
        return explain.named(estate, explain.explain_cell(situation_now(estate), asked, exchanges), asked), asked

    async def _names(self, _: web.Request) -> web.Response:
        return answer(agents.names_body(self._served.estate))

    async def _packets(self, request: web.Request) -> web.Response:
        estate, name = self._served.estate, request.match_info["id"]
        found = estate.book.get(name)
        if found is None:
            raise self._no_finding(name)
        kept = Exchanges(estate.store.group_of).of_finding(found)
        return answer(Packets(finding=found.id, exchanges=tuple(map(explain.exchange_of, kept))))

    async def _plan(self, _: web.Request) -> web.Response:
        estate = self._served.estate
        return answer(views.plan_body(estate.topology, estate.plan))

    async def _known_runs(self, _: web.Request) -> web.Response:
        return answer(known(self._served.runs.all()))

    async def _run(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        run = self._served.runs.get(name)
        if run is None:
            raise ApiError(404, f"there is no run '{name}'; a coordinator that was restarted has forgotten its runs")
        return answer(body_of(run, with_cells=is_set(request, "cells")))

    # -- steering -------------------------------------------------------------------------------------------------

    async def _acknowledge(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        body = await _body(request)
        by, reason = body.get("by"), body.get("reason")
        if not (isinstance(by, str) and isinstance(reason, str) and max(len(by), len(reason)) <= MOST_WORDS):
            raise ApiError(400, f"an acknowledgement needs `by` and `reason`, at most {MOST_WORDS} characters each")
        try:
            await self._served.estate.acknowledge(name, by, reason)
        except KeyError:
            raise self._no_finding(name) from None
        except ValueError as error:
            raise ApiError(409, str(error)) from error
        found = self._served.estate.book.get(name)
        assert found is not None
        return answer(Taken(id=name, status=found.status.value))

    async def _verify(self, request: web.Request) -> web.Response:
        body = await _body(request)
        source, destination = body.get("from"), body.get("to")
        if not all(name is None or isinstance(name, str) for name in (source, destination)):
            raise ApiError(400, "`from` and `to` are names of environments")
        max_age_s = body.get("max_age_s")
        if max_age_s is not None and (isinstance(max_age_s, bool) or not isinstance(max_age_s, int | float)):
            raise ApiError(400, "`max_age_s` is a number of seconds")
        try:
            reason, by = (str(body.get(name) or "")[:MOST_WORDS] for name in ("in_blackout", "by"))
            run = self._served.runs.ask(
                sweep=bool(body.get("sweep")), source=source, destination=destination, max_age_s=max_age_s,
                in_blackout=reason, by=by,
            )  # fmt: skip
        except ValueError as error:
            raise ApiError(400, str(error)) from error
        except AllStopped as stopped:
            raise ApiError(409, str(stopped)) from stopped
        return answer(Asked(run=run))

    async def _trace(self, request: web.Request) -> web.Response:
        """What `explain` says, and by which hops the cell's packets go now: takes seconds."""
        asked = {name: value for name, value in (await _body(request)).items() if isinstance(value, str)}
        body, shown = self._explained(asked)
        if shown is None:
            raise ApiError(409, NOT_PLANNED)
        witness = shown.target.witness if shown.target else ""
        try:
            made = await trace(self._served.estate, self._served.engine, shown.cell.key, shown.ports, witness)
        except CannotTraceError as error:
            raise ApiError(409, str(error)) from error
        return answer(msgspec.structs.replace(body, trace=trace_body(made)))

    async def _end_run(self, request: web.Request) -> web.Response:
        return answer(Ended(ended=await self._served.runs.end(request.match_info["id"])))

    async def _stop(self, request: web.Request) -> web.Response:
        body = await _body(request)
        reason, by = (str(body.get(name) or "")[:MOST_WORDS] for name in ("reason", "by"))
        await self._served.engine.stop(reason, by)
        return answer(Stopped(stopped=self._served.engine.stopped))

    async def _resume(self, request: web.Request) -> web.Response:
        await self._served.engine.resume(str((await _body(request)).get("by") or "")[:MOST_WORDS])
        return answer(Stopped(stopped=None))

    def _no_finding(self, name: str) -> ApiError:
        return ApiError(404, f"there is no finding '{name}'; `segwatch findings` lists them")


async def _body(request: web.Request) -> dict[str, Any]:
    return read_body(await request.read())
