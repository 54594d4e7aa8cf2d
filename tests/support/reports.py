"""A source's report, with as many observations as a test asks for."""

from __future__ import annotations

from reachability.observation import Observation, SourceReport
from reachability.vocabulary import Protocol, Reason, State

SEEN = Observation(
    target=1, source_address="10.10.0.10", address="10.30.0.10", protocol=Protocol.TCP, state=State.OPEN, reason=Reason.SYN_ACK
)  # fmt: skip


def report(number: int, rows: int = 3) -> SourceReport:
    return SourceReport(round=f"R{number}", agent="dev-1", observations=(SEEN,) * rows)
