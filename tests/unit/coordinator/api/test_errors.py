"""How structs become answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from coordinator.api import agents, explain, report, verify, views
from coordinator.api.errors import answer, encoded
from coordinator.api.responses.status import Failure
from coordinator.store import Gap, Losses
from reachability.topology import Selector, Waiver
from tests.support.sample import AGENTS, NOW, Estate

Answer = msgspec.Struct | tuple[msgspec.Struct, ...]
ALL = Selector("dev", environment="dev"), Selector("prod", environment="prod")
ENDED = Waiver("W-0", *ALL, None, "", "", NOW - timedelta(days=1))
ESTATE = Estate(undecided=True, waivers=(ENDED,))
FINDING = ESTATE.book.findings[0]
LOST = {"dev-1": Losses(2, 12, 5.0, 9.0, "bytes,gone"), "gone-1": Losses(1, 1, 0.0, 0.0, "")}
ODD = (replace(AGENTS[0], clock_skew_s=-0.04, certificate=(1.0, 5e9)), *AGENTS[1:])


def told(*, gone: bool) -> Answer:
    shown = None if gone else explain.of_finding(ESTATE.plan, ESTATE.cells, FINDING)
    return explain.explain_finding(ESTATE.situation(), FINDING, shown, ESTATE.events, ESTATE.exchanges)


def verified() -> Answer:
    return verify.verify(
        ESTATE.topology,
        ESTATE.cells,
        ESTATE.book.findings,
        ODD,
        started=1.0,
        finished=2.0,
        losses=LOST,
        reused=("run-2", 600.0),
        with_cells=True,
    )


ANSWERS: dict[str, Callable[[], Answer]] = {
    "status": lambda: ESTATE.status(ODD, LOST),
    "matrix": lambda: views.matrix(ESTATE.topology, ESTATE.cells, with_cells=True),
    "findings": lambda: views.findings(ESTATE.topology, ESTATE.book.findings),
    "coverage": lambda: views.coverage_body(ESTATE.topology, ESTATE.cells, LOST),
    "history": lambda: views.history(ESTATE.events, ESTATE.topology, {FINDING.id: FINDING}),
    "gaps": lambda: agents.gaps_body(
        ESTATE.topology,
        [Gap(agent="x", spool="", first=0, last=0, batches=1, reports=2, since=1.0, until=2.0, why="", noticed=3.0)],
    ),
    "plan": lambda: views.plan_body(ESTATE.topology, ESTATE.plan),
    "report": lambda: report.report(ESTATE.snapshot()),
    "explain": lambda: told(gone=False),
    "explain what has left the plan": lambda: told(gone=True),
    "verified": verified,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_answered_is_what_its_struct_says(name: str) -> None:
    """The encoder looks at no type: only who reads it does."""
    body = ANSWERS[name]()
    kind: Any = tuple[type(body[0]), ...] if isinstance(body, tuple) else type(body)  # type: ignore[misc]
    read = msgspec.json.decode(encoded(body), type=kind)
    assert read == body
    assert encoded(read) == encoded(body)


def test_a_name_that_is_no_utf_8_is_answered_all_the_same() -> None:
    said = encoded(Failure(error="topology\udcff → x"))
    assert json.loads(said.decode("utf-8")) == {"error": "topology? → x"}


def test_an_answer_says_that_it_is_json() -> None:
    made = answer(Failure(error="gone"), 404)
    assert (made.status, made.headers["Content-Type"]) == (404, "application/json; charset=utf-8")
    assert made.body == b'{"error":"gone"}'
