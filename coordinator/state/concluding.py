"""What rounds show of their cells, judged: from what is in memory, or from what the store holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from coordinator.state.reports import round_data
from coordinator.store import HeldRound, Store
from reachability.evidence import Conclusion, conclude
from reachability.matrix import CellKey, Judged, Matrix
from reachability.observation import SourceReport
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.verdict import judge
from reachability.vocabulary import Role


class JudgedRow(NamedTuple):
    """Cells of a key that came out alike."""

    key: CellKey
    ports: PortSet
    judged: Judged


def held_matrix(store: Store, now: float) -> Matrix:
    """What the store holds of cells, at epoch seconds `now`."""
    matrix = Matrix()
    for key, ports, judged in store.cells():
        # The clock was set back while nobody watched: when it was is not known any more, so that it is stale.
        matrix.update(key, ports, judged if judged.observed_at <= now else replace(judged, observed_at=0.0))
    return matrix


def judged_of(rounds: Sequence[RoundData], *, pending: bool = False) -> tuple[Conclusion, list[JudgedRow]]:
    """What a round and its follow-ups show, not dated yet; `pending` as `conclude` has it."""
    spec, conclusion = rounds[0].spec, conclude(rounds, pending=pending)
    witnesses = {(t.environment, t.address, t.protocol): t.witness for t in spec.targets}
    rows = []
    for key, ports, evidence in conclusion.cells:
        judged = Judged(
            evidence=evidence, verdict=judge(evidence), round=spec.round, run=spec.run, schedule=spec.schedule,
            source_environment=spec.source_environment, witness=witnesses[key.destination, key.address, key.protocol],
            layout=spec.layout,
        )  # fmt: skip
        rows.append(JudgedRow(key, ports, judged))
    return conclusion, rows


def rounds_of(held: Sequence[HeldRound]) -> list[RoundData]:
    """The rounds with all their reports; none where the source tried nothing: it was stopped, or is not heard of yet."""
    sources = [r for one in held for r, _ in one.reports if isinstance(r, SourceReport) and r.role is Role.SOURCE]
    if not any(report.observations for report in sources):
        return []
    return [round_data(spec, parts, [report for report, _ in reports]) for spec, parts, reports in held]
