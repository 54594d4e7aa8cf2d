"""What the coordinator's API answers, each answer a file; one that does not come is said, and the others are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from cli.client import Client, UnreachableError
from cli.errors import Problem
from cli.options import Endpoint
from cli.show.render import plural
from cli.support.archive import Archive, plain
from coordinator.api.responses.estate import Cell, Finding, Matrix
from coordinator.api.responses.proof import Explanation
from coordinator.api.responses.runs import Known
from coordinator.api.responses.status import Status

ANSWER_S = 60.0  # the report of a large estate takes its time
MOST_FINDINGS, MOST_CELLS = 100, 20
_EXPLAINED = "why findings stand, and required cells are inconclusive"
T = TypeVar("T")


class Answers:
    """Asks one coordinator. After it was out of reach once it is not asked again."""

    def __init__(self, endpoint: Endpoint, archive: Archive, tell: Callable[[str], None]) -> None:
        self.answers = True
        self.status: Status | None = None
        self.rounds: list[str] = []  # that the explanations stand on
        self._client = Client(endpoint, ANSWER_S)
        self._archive = archive
        self._tell = tell

    def gather(self, run: str | None) -> None:
        """Ask for everything, what matters most first; `run` is a verify run, None for the newest."""
        self.status = self._kept("status", "status.json", "coordinator, broker, store and agents", Status)
        found = self._kept("findings", "findings.json", "all findings", tuple[Finding, ...]) or ()
        self._run(run)
        self._explain_findings(found)
        matrix = self._kept("matrix", "matrix.json", "every cell, and what it came out as", Matrix, cells=1)
        if matrix is not None:
            self._explain_cells(matrix.cells or ())
        self._kept("coverage", "coverage.json", "how much is proven", object)
        self._kept("history", "history.json", "what happened, the newest first", object)
        self._kept("gaps", "gaps.json", "reports that were lost", object)
        self._kept("plan", "plan.json", "what each agent probes", object)
        self._kept("report", "report.json", "what `segwatch report -o json` makes", object)

    def _run(self, asked: str | None) -> None:
        if asked is None:
            known = self._asked("runs", "the newest verify run", tuple[Known, ...])
            if known is None:
                return
            if not known[1]:
                self._archive.lack("run.json: the coordinator has had no verify run since its start")
                return
            asked = known[1][0].run
        self._kept(f"runs/{asked}", "run.json", f"the verify run {asked}", object, cells=1)

    def _explain_findings(self, found: Iterable[Finding]) -> None:
        live = [finding for finding in found if finding.status != "resolved"]
        for finding in live[:MOST_FINDINGS]:
            self._explain(f"explain/{plain(finding.id)}.json", finding=finding.id)
        if len(live) > MOST_FINDINGS:
            self._archive.lack(f"explain/: {plural(len(live) - MOST_FINDINGS, 'more finding')}")

    def _explain_cells(self, cells: Iterable[Cell]) -> None:
        """Of those that are alike one."""
        alike: dict[tuple[object, ...], Cell] = {}
        count = 0
        for cell in cells:
            if cell.required and cell.result == "inconclusive":
                count += 1
                alike.setdefault((cell.agent, cell.destination, cell.address, cell.protocol, cell.reason), cell)
        for number, cell in enumerate(list(alike.values())[:MOST_CELLS], 1):
            first = (cell.ports or "").replace("-", ",").partition(",")[0]
            port = f"{cell.protocol}/{first}" if first else cell.protocol
            self._explain(f"explain/cell-{number:02}.json", **{"from": cell.agent, "to": cell.address, "port": port})
        if count > MOST_CELLS:
            self._archive.lack(
                f"explain/: {count} rows of required cells are inconclusive; {MOST_CELLS} at most are explained"
            )

    def _explain(self, name: str, **query: str) -> None:
        got = self._asked("explain", name, Explanation, **query)
        if got is None:
            return
        body, about = got
        if about is not None and about.round is not None:
            self.rounds.append(about.round.id)
        _without_bytes(body)
        self._archive.body(name, _EXPLAINED, body)

    def _kept(self, path: str, name: str, what: str, kind: type[T], **query: int) -> T | None:
        """Ask, and keep the answer as a file; None where there is none, or it is not what this version knows."""
        got = self._asked(path, name, kind, **query)
        if got is None:
            return None
        self._archive.body(name, what, got[0])
        return got[1]

    def _asked(self, path: str, name: str, kind: type[T], **query: str | int) -> tuple[Any, T | None] | None:
        """The answer as it came, and as what it is; None where there is none, which is said."""
        if not self.answers:
            return None
        self._tell(f"asking for {name}")
        try:
            body: Any = self._client.get(path, object, **query)
        except UnreachableError as problem:
            self.answers = False
            self._archive.lack(f"{name} and what else only the coordinator knows: {problem.lines[0]}")
            return None
        except Problem as problem:
            self._archive.lack(f"{name}: {problem.lines[0]}")
            return None
        try:
            return body, msgspec.convert(body, kind)
        except msgspec.ValidationError as error:
            self._archive.lack(f"what {name} leads to: the coordinator is of another version ({error})")
            return body, None


def _without_bytes(body: Any) -> None:
    """Take the bytes of packets out: what services say there is not what this is about."""
    exchange = body.get("exchange") if isinstance(body, dict) else None
    packets = exchange.get("packets") if isinstance(exchange, dict) else None
    for packet in packets if isinstance(packets, list) else ():
        if isinstance(packet, dict):
            packet.pop("data", None)
