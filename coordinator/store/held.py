"""A round as it is held, with its follow-ups: what was asked, who was ready, and the reports."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from typing import NamedTuple

from coordinator.store.codec import decode, pack
from reachability.arrival import WitnessReport
from reachability.observation import KeptPacket, SourceReport
from reachability.round_data import RoundSpec

Report = SourceReport | WitnessReport


@dataclass(frozen=True, slots=True)
class Part:
    """How an agent took part in a round, as it was heard of while it ran.

    `whole`: it listened from before the first packet until after the last, and `why` says in words why not. `instance`: the
    process, "" where its version does not say. `two_holders`: more than one process was heard of under its name.
    """

    whole: bool = False
    instance: str = ""
    two_holders: bool = False
    why: str = ""


Parts = dict[str, Part]  # by agent


class HeldRound(NamedTuple):
    """A round as it is held: what was asked, who took part, and the reports, each with when it came (epoch seconds)."""

    spec: RoundSpec
    parts: Parts
    reports: list[tuple[Report, float]]


class PackedReport(NamedTuple):
    """A report as its rows hold it; `kept` are its packets, None for none."""

    round: str
    agent: str
    kind: str
    body: bytes
    kept: bytes | None


def packed(report: Report | PackedReport) -> PackedReport:
    """A report as the store takes it. Of a large one this is most of the work, and needs no store."""
    if isinstance(report, PackedReport):
        return report
    kind = "witness" if isinstance(report, WitnessReport) else report.role
    kept = pack(report.kept) if report.kept else None
    return PackedReport(report.round, report.agent, kind, pack(replace(report, kept=())), kept)


def group_of(db: sqlite3.Connection, round_id: str) -> list[HeldRound]:
    """A round with its follow-ups, the main one first; empty for one that is not known."""
    row = db.execute("SELECT main FROM rounds WHERE round = ?", (round_id,)).fetchone()
    if row is None:
        return []
    rounds = db.execute(
        "SELECT round, spec, armed FROM rounds WHERE main = ? ORDER BY round != main, started", row
    ).fetchall()
    return [HeldRound(decode(spec, RoundSpec), _parts(armed), _reports_of(db, name)) for name, spec, armed in rounds]


def _parts(armed: bytes) -> Parts:
    found = decode(armed, dict[str, Part | bool])  # whether it was ready was all that was kept until December 2026
    return {agent: Part(whole=part) if isinstance(part, bool) else part for agent, part in found.items()}


def _reports_of(db: sqlite3.Connection, name: str) -> list[tuple[Report, float]]:
    rows = db.execute(
        "SELECT kind, reports.received, reports.body, packets.body FROM reports LEFT JOIN packets ON report = id "
        "WHERE reports.round = ? ORDER BY id",
        (name,),
    )
    found: list[tuple[Report, float]] = []
    for kind, received, body, packets in rows:
        report: Report = decode(body, WitnessReport) if kind == "witness" else decode(body, SourceReport)
        if packets is not None:
            report = replace(report, kept=decode(packets, tuple[KeptPacket, ...]))
        found.append((report, received))
    return found
