"""Reports of rounds that the store does not know: begun after the backup that it was restored from, forgotten, or made up.

They are kept as any other, for what an agent observed is not thrown away unseen; but an agent may make up as many as it
likes, so that of one agent so many are kept at a time and what is beyond that is a gap. Those of traces are among them: no
trace is a round of the store.
"""

from __future__ import annotations

import sqlite3

from coordinator.store.held import PackedReport
from coordinator.store.spools import Gap

MOST_REPORTS, MOST_BYTES = 1000, 4 * 1024 * 1024  # of an agent
UNKNOWN = "unknown"  # why a gap is: its round is not known here


def bytes_of_stray(db: sqlite3.Connection, report: PackedReport) -> int:
    """What a report of an unknown round takes in the store; 0 of any other."""
    if db.execute("SELECT 1 FROM rounds WHERE round = ?", (report.round,)).fetchone():
        return 0
    return max(1, len(report.body) + len(report.kept or b""))


def fits(db: sqlite3.Connection, agent: str, size: int) -> bool:
    """Whether a stray of so many bytes is kept, too."""
    held = "SELECT COUNT(*), COALESCE(SUM(stray), 0) FROM reports WHERE agent = ? AND stray > 0"
    count, total = db.execute(held, (agent,)).fetchone()
    return bool(count < MOST_REPORTS and total + size <= MOST_BYTES)


def gap_of(agent: str, spool: str, sequence: int, reports: int, at: float, now: float) -> Gap:
    """So many reports of a batch that was made `at` are left out, epoch seconds."""
    return Gap(
        agent=agent, spool=spool, first=sequence, last=sequence, batches=1, reports=reports, since=at, until=at,
        why=UNKNOWN, noticed=now,
    )  # fmt: skip
