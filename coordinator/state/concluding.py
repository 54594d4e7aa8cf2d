"""What rounds show of their cells, judged: from what is in memory, or from what the store holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import structlog

from coordinator.state.reports import round_data
from coordinator.store import HeldRound
from reachability.evidence import Conclusion, conclude
from reachability.matrix import CellKey, Judged
from reachability.observation import SourceReport
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.verdict import judge
from reachability.vocabulary import Role

log = structlog.get_logger("estate")


class JudgedRow(NamedTuple):
    """Cells of a key that came out alike."""

    key: CellKey
    ports: PortSet
    judged: Judged


def judged_of(rounds: Sequence[RoundData], at: float, *, pending: bool = False) -> tuple[Conclusion, list[JudgedRow]]:
    """What a round and its follow-ups show, observed `at`; `pending` as `conclude` has it."""
    spec = rounds[0].spec
    try:
        conclusion = conclude(rounds, pending=pending)
    except Exception:  # what one report holds must end no daemon; its cells stay as untested as they were
        log.exception("a round cannot be concluded, please report it", round=spec.round, source=spec.source)
        conclusion = Conclusion(cells=())
    witnesses = {(t.environment, t.address, t.protocol): t.witness for t in spec.targets}
    rows = []
    for key, ports, evidence in conclusion.cells:
        judged = Judged(
            evidence=evidence, verdict=judge(evidence), round=spec.round, run=spec.run, schedule=spec.schedule,
            observed_at=at, source_environment=spec.source_environment,
            witness=witnesses[key.destination, key.address, key.protocol],
        )  # fmt: skip
        rows.append(JudgedRow(key, ports, judged))
    return conclusion, rows


def rounds_of(held: Sequence[HeldRound]) -> list[RoundData]:
    """The rounds with all their reports; none where the source tried nothing: it was stopped, or is not heard of yet."""
    sources = [r for one in held for r, _ in one.reports if isinstance(r, SourceReport) and r.role is Role.SOURCE]
    if not any(report.observations for report in sources):
        return []
    return [round_data(spec, parts, [report for report, _ in reports]) for spec, parts, reports in held]
