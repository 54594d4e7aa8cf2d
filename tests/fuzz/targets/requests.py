"""Requests to the coordinator's API, over its socket and over TCP."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from types import SimpleNamespace
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from coordinator.api import app as api
from coordinator.api.guard.serving import MOST_BODY, application
from coordinator.messaging.floods import Floods
from coordinator.rounds.brake import Halt
from coordinator.rounds.durations import Durations
from coordinator.rounds.verify_runs import Runs
from tests.fuzz.target import Fault, Shape, Target
from tests.support import sample


def nothing_said(*_: Any) -> None:
    """Events are not what is tried here."""


@cache
def _app() -> tuple[web.Application, web.Application, asyncio.AbstractEventLoop]:
    """The API over its socket, and over TCP, where a token is asked for and all probing is stopped."""
    held = sample.Estate()

    async def acknowledge(name: str, by: str, reason: str) -> None:
        held.book.acknowledge(name, by, reason, sample.NOW)

    estate: Any = SimpleNamespace(
        topology=held.topology, plan=held.plan, book=held.book, agents={a.name: a for a in sample.AGENTS}, clock=sample.NOW.timestamp, now=lambda: sample.NOW,
        cells=lambda *_, **__: held.cells[:40], store=SimpleNamespace(events=lambda: held.events, group_of=lambda _: (), gaps=lambda: ()), problem="", losses={}, note=nothing_said, acknowledge=acknowledge,
    )  # fmt: skip

    async def nothing(*_: Any) -> None:
        return None

    def served(halt: Halt | None) -> api.Served:
        engine: Any = SimpleNamespace(durations=Durations(), judging=SimpleNamespace(faults={}), brake=SimpleNamespace(halt=halt, blackout=lambda: ""), stopped="", stop=nothing, resume=nothing)  # fmt: skip
        return api.Served(
            estate=estate, engine=engine, runs=Runs(estate, engine), floods=Floods(lambda: 0.0), refused={},
            connected=lambda: True, status=held.status, certificates=dict,
        )  # fmt: skip

    halts = (None, Halt("maintenance", "olga", 0.0))
    made = [
        application(api.Api(served(halt)).routes(), from_socket=halt is None, token="t" * 32, metrics_token="m" * 32)
        for halt in halts
    ]
    for app in made:
        app.freeze()
    return made[0], made[1], asyncio.new_event_loop()


def request(data: bytes) -> None:
    """A request as lines: method, path, then headers; an empty line, the body. Never a failure of ours."""
    head, _, body = data.partition(b"\n\n")
    method, path, *lines = [*head.decode("utf-8", "surrogateescape").split("\n"), "", ""]
    if not path.startswith("/") or method not in {"GET", "POST"}:
        return
    names: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and name and name.isascii():
            names[name] = value.strip()
    for app in _app()[:2]:
        status, text = _app()[2].run_until_complete(_ask(app, method, path, names, body))
        assert status < 500 or (path.startswith("/healthz") and status == 503), text
        assert "Traceback" not in text
        if app is _app()[1] and method == "POST":
            assert status in {401, 421} or names.get("Authorization", "").removeprefix("Bearer ") == "t" * 32, (
                "something was changed without the token"
            )
        if not path.startswith("/metrics"):
            json.loads(text, parse_constant=lambda name: (_ for _ in ()).throw(AssertionError(name)))


async def _ask(app: web.Application, method: str, path: str, headers: CIMultiDict[str], body: bytes) -> tuple[int, str]:
    stream = StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16, loop=asyncio.get_running_loop())
    stream.feed_data(body)
    stream.feed_eof()
    try:
        asked = make_mocked_request(method, path, headers, payload=stream, app=app, client_max_size=MOST_BODY)
    except ValueError:  # no parser of HTTP makes such a request
        return 401, "{}"
    answer = await app._handle(asked)
    assert isinstance(answer, web.Response)
    return answer.status, (answer.body or b"{}").decode()


@cache
def _requests() -> tuple[bytes, ...]:
    finding = sample.Estate().book.findings[0].id.encode()
    v1 = b"/api/v1"
    reads = [
        b"/healthz",
        b"/metrics",
        *(
            v1 + path
            for path in (
                b"/status",
                b"/matrix?cells=1",
                b"/matrix?run=x",
                b"/findings",
                b"/findings/" + finding,
                b"/findings/x",
                b"/findings/" + finding + b"/packets",
                b"/findings/x/packets",
                b"/coverage",
                b"/history",
                b"/gaps",
                b"/plan",
                b"/runs/x?cells=0",
                b"/explain?finding=" + finding,
                b"/explain?finding=x",
                b"/explain?from=dev",
                b"/explain?from=dev-1&to=10.30.0.21&port=tcp/5000",
                b"/explain?from=dev-1&to=10.30.0.21&port=icmp",
                b"/explain?from=a&to=b&port=tcp/99999",
                b"/explain?from=a&to=b&port=tcp/22",
                b"/explain?from=dev&to=x&port=udp/53",
                b"/explain?from=dev&to=10.30.0.21&port=udp/9",
                b"/explain?from=a&to=b&port=tcp/\xc2\xb2",
            )
        ),
    ]
    posts = [
        (v1 + b"/findings/" + finding + b"/ack", b'{"by": "a", "reason": "b"}'),
        (v1 + b"/findings/x/ack", b'{"by": "a", "reason": "b"}'),
        (v1 + b"/findings/x/ack", b"{}"),
        (v1 + b"/verify", b'{"from": "dev", "sweep": true}'),
        (v1 + b"/verify", b'{"in_blackout": "why", "by": [1]}'),
        (v1 + b"/verify", b'{"from": "x"}'),
        (v1 + b"/verify", b'{"from": 1}'),
        (v1 + b"/verify", b'{"max_age_s": true}'),
        (v1 + b"/verify", b'{"max_age_s": 1e999}'),
        (v1 + b"/trace", b'{"finding": "x"}'),
        (v1 + b"/stop", b'{"reason": "\\u001b[2J", "by": [1]}'),
        (v1 + b"/stop", b"[" * 3000),
        (v1 + b"/stop", b"[1]"),
        (v1 + b"/stop", b"\xff"),
        (v1 + b"/resume", b""),
        (v1 + b"/runs/x/end", b""),
    ]
    made = [b"GET\n" + path + b"\nHost: localhost:8600" for path in reads]
    made += [
        b"POST\n"
        + path
        + b"\nHost: localhost:8600\nContent-Type: application/json; charset=none\nAuthorization: Bearer "
        + b"t" * 32
        + b"\n\n"
        + body
        for path, body in posts
    ]
    return (
        *made,
        b"GET\n/api/v1/status\nHost: evil.example",
        b"GET\n/api/v1/status\nAuthorization: \xff\xfe",
        b"GET\n/else",
        b"GET\n/api/v1/status\nHost: [::1]",
    )


TARGETS = (
    Target(
        "request", request, _requests, {"coordinator/api/auth.py": ("allowed", "read_body", "name_of"), "coordinator/api/guard/hosts.py": ("known_host", "is_known"), "coordinator/api/explain.py": ("parse_port", "find_cell", "explain_cell"), "coordinator/api/errors.py": ("errors",), "coordinator/api/app.py": ("Api._explained", "Api._acknowledge", "Api._verify", "Api._matrix", "Api._finding", "Api._run", "Api._stop", "Api._resume")},
        (
            Fault("coordinator.api.auth:read_body", "    except (ValueError, RecursionError) as error:", "    except KeyError as error:"),
            Fault("coordinator.api.auth:allowed", "    if any(hmac.compare_digest(given, token.encode()) for token in held):", "    if given:"),
            Fault("coordinator.api.guard.hosts:known_host", "if len(given) == 1 and is_known", "if is_known"),
            Fault("coordinator.api.explain:parse_port", "not number.isdecimal()", "not number.isdigit()"),
        ),
        Shape.TEXT, words=(b"/api/v1/", b"?", b"&", b"%ff", b"%00", b"Authorization: Bearer ", b'{"', b"\\ud800", b"NaN", b"1e999", b"\xff"),
        share=1,
    ),
)  # fmt: skip
