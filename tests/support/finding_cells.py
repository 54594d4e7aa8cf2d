"""Cells that fail, or are shown to be shut, and a book that they are put into."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from reachability.compare import Cell
from reachability.finding import FindingBook
from reachability.matrix import CellKey, Judged
from reachability.ports import ICMP_CELL, PortSet
from reachability.topology import Path, Selector, Waiver
from reachability.verdict import Evidence, Verdict
from reachability.vocabulary import Declared, Protocol, Reachability, Result, State
from tests.support.sample import NOW

LEAK = Verdict(reachability=Reachability.REACHABLE, row=1)
ONE_WAY = Verdict(reachability=Reachability.ONE_WAY, row=14)  # red, but no answer shows it
SHUT = Verdict(reachability=Reachability.BLOCKED, row=15)
PATH = Path("p", Selector("dev"), Selector("prod"))
WAIVER = Waiver("W-1", Selector("dev"), Selector("prod"), None, "o", "j", NOW)


def cell(ports: str | None, result: Result, name: str = "r1", **more: Any) -> Cell:
    fields = {"agent": "dev-1", "source_address": "10.10.0.10", "destination": "prod", "address": "10.30.0.10"}
    fields |= {field: more.pop(field) for field in list(more) if field in fields}
    protocol = Protocol.TCP if ports is not None else Protocol.ICMP
    protocol = more.pop("protocol", protocol)
    verdict = more.pop("verdict", SHUT if result is Result.PASS else LEAK)
    run = more.pop("run", "")
    seen = result is not Result.NOT_RUN
    evidence = Evidence(protocol=protocol, state=more.pop("state", State.OPEN))
    at = NOW.timestamp()
    judged = Judged(evidence=evidence, verdict=verdict, round=name, run=run, observed_at=at) if seen else None
    base = Cell(
        key=CellKey(protocol=protocol, **fields),
        source_environment=more.pop("source_environment", "dev"),
        ports=ICMP_CELL if ports is None else PortSet.parse(ports),
        declared=more.pop("declared", Declared.DENIED),
        result=result,
        required=True,
        judged=judged,
    )
    return replace(base, **more)


def apply(book: FindingBook, *cells: Cell, after_s: float = 0, confirm: int = 1) -> list[str]:
    return [event.what for event in book.apply(cells, NOW + timedelta(seconds=after_s), confirm)]
