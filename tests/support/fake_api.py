"""The sample estate served as the coordinator serves it: HTTP over a Unix socket or TCP, in a thread of the test."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from coordinator.api import report, views
from coordinator.api.errors import encoded
from coordinator.api.explain import NothingToExplainError, exchange_of
from coordinator.api.proposed import draft, what_if
from coordinator.api.responses.estate import Taken
from coordinator.api.responses.names import Names
from coordinator.api.responses.packets import Packets
from coordinator.api.responses.runs import Asked, Ended, Known, Progress
from coordinator.api.responses.status import Failure
from coordinator.json_types import iso
from coordinator.topology.scalars import parse_instant
from reachability.compare import compare
from reachability.plan import build_plan
from reachability.what_if import Supposed
from tests.support.answers import unfinished
from tests.support.sample import AGENTS, NOW, STARTED, Estate


class FakeCoordinator:
    """Answers the API of `estate`; `waits` is how many polls of a run find it unfinished."""

    def __init__(self, estate: Estate, waits: int = 2) -> None:
        self.estate = estate
        self.waits = waits
        self.posted: list[tuple[str, Any]] = []
        self.trace: Any = None
        self.error: str | None = None  # of a run
        self.ended = False
        self.names = Names(names=())

    def get(self, path: str, query: dict[str, str]) -> Any:
        estate, cells = self.estate, self.estate.cells
        match path.split("/"):
            case ["status"]:
                return estate.status()
            case ["matrix"]:
                return views.matrix(estate.topology, cells, with_cells="cells" in query)
            case ["coverage"]:
                return views.coverage_body(estate.topology, cells)
            case ["findings"]:
                return views.findings(estate.topology, estate.book.findings)
            case ["findings", name, "packets"]:
                found = estate.book.get(name)
                if found is None:
                    raise NothingToExplainError(f"there is no finding '{name}'; `segwatch findings` lists them")
                kept = estate.exchanges.of_finding(found)
                return Packets(finding=found.id, exchanges=tuple(map(exchange_of, kept)))
            case ["history"]:
                book = {finding.id: finding for finding in estate.book.findings}
                return views.history(estate.events, estate.topology, book)
            case ["report"]:
                if "since" not in query:
                    return report.report(estate.snapshot())
                until = parse_instant(query.get("until", NOW.isoformat()))
                span = report.Span(parse_instant(query["since"]).timestamp(), until.timestamp())
                return report.report(estate.snapshot(span))
            case ["explain"]:
                return self._explain(query)
            case ["names"]:
                return self.names
            case ["draft"]:
                return draft.drafted(estate.snapshot())
            case ["runs"]:
                return (Known(run="run-1", state="finished", started=iso(STARTED)),)
            case ["runs", name]:
                if self.waits:
                    self.waits -= 1
                    if self.waits:
                        return unfinished(name, state="waiting", waiting_for=("test-1",))
                    return unfinished(name, progress=Progress(done=100, cells=1200))
                if self.error:
                    return unfinished(name, state="finished", error=self.error)
                return msgspec.structs.replace(estate.run_body(with_cells="cells" in query), ended=self.ended)
        raise NothingToExplainError(f"no route {path}")

    def _explain(self, query: dict[str, str]) -> Any:
        if "finding" in query:
            return self.estate.explain(finding=query["finding"])
        return self.estate.explain(asked=(query["from"], query["to"], query["port"]))

    def _supposed(self, asked: what_if.Asked) -> what_if.Judged:
        estate, plan = self.estate, build_plan(asked.topology, {}, {})
        return what_if.Judged(
            asked=asked,
            held=estate.topology,
            at=NOW.timestamp(),
            plan=plan,
            before=compare(estate.topology, asked.scoped(estate.plan), estate.matrix, NOW),
            after=Supposed(estate.topology, asked.topology).cells(asked.scoped(plan), estate.matrix, NOW),
            findings=estate.book.findings,
            agents=AGENTS,
        )

    def post(self, path: str, body: Any) -> Any:
        self.posted.append((path, body))
        match path.split("/"):
            case ["verify"]:
                return Asked(run="run-1")
            case ["what-if"]:
                return what_if.body_of(self._supposed(what_if.asked_of(body)))
            case ["runs", _, "end"]:
                self.waits, self.ended = 0, True
                return Ended(ended=True)
            case ["trace"]:
                return msgspec.structs.replace(self._explain(body), trace=self.trace)
            case ["findings", name, "ack"]:
                event = self.estate.book.acknowledge(name, body["by"], body["reason"], NOW)
                self.estate.events.append(event)
                return Taken(id=name, status="acknowledged")
        raise NothingToExplainError(f"no route {path}")


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = True


class _WebServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = True


@contextlib.contextmanager
def served(fake: FakeCoordinator, state_dir: Path) -> Iterator[FakeCoordinator]:
    """Serve it on `state_dir`/coordinator.sock."""
    state_dir.mkdir(parents=True, exist_ok=True)
    path = state_dir / "coordinator.sock"
    with _Server(str(path), _handler(fake)) as server, _served(server):
        try:
            yield fake
        finally:
            path.unlink()


@contextlib.contextmanager
def served_web(fake: FakeCoordinator, tokens: list[str]) -> Iterator[str]:
    """Serve it on a port of this host; its URL. `tokens` gets what each request says of itself."""
    with _WebServer(("127.0.0.1", 0), _handler(fake, tokens)) as server, _served(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


@contextlib.contextmanager
def _served(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def _handler(fake: FakeCoordinator, tokens: list[str] | None = None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self, act: Callable[[], Any]) -> None:
            if tokens is not None:
                tokens.append(self.headers.get("Authorization", ""))
            try:
                status, body = 200, act()
            except LookupError as error:
                status, body = 404, Failure(error=str(error.args[0]))
            data = body if isinstance(body, bytes) else encoded(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self._answer(lambda: fake.get(parts.path.removeprefix("/api/v1/"), query))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(lambda: fake.post(self.path.removeprefix("/api/v1/"), body))

        def address_string(self) -> str:
            return "socket"

    return Handler


if __name__ == "__main__":
    import sys

    with served(FakeCoordinator(Estate(undecided=True)), Path(sys.argv[1])):
        input()
