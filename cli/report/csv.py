"""The report as CSV (RFC 4180): a line per event, pair, path, waiver, finding, unproven host and loss; `record` says which."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import msgspec

from cli.show.grid import by_pair
from cli.show.losses import why_lost
from cli.show.spreadsheet import spreadsheet_cell
from coordinator.api.responses.estate import Counts, Coverage, PairCoverage
from coordinator.api.responses.report import DeclaredPath, DeclaredWaiver, Report, ReportedFinding

Line = dict[str, object]
COLUMNS = (
    *("record", "id", "source", "agents", "destination", "service", "addresses", "protocol", "ports"),
    *("declared", "reachability", "proof", "reason", "result", "severity", "status", "cells"),
    *("pass", "fail", "waived", "inconclusive", "stale", "not_run", "required", "proven", "coverage"),
    *(
        "no_packet",
        "no_session",
        "beyond_proof",
        "first_seen",
        "last_seen",
        "owner",
        "expires",
        "text",
        "settle",
        "flapping",
        "reports",
    ),
)


def rows(body: Report) -> str:
    """The file's text; a column that does not apply is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for row in _rows(body):
        writer.writerow({name: spreadsheet_cell(value) for name, value in row.items()})
    return out.getvalue()


def _rows(body: Report) -> Iterator[Line]:
    entries = by_pair(body.coverage)
    yield {
        "record": "report",
        "result": body.result,
        "last_seen": body.made,
        **_counts(body.summary, body.coverage),
    }
    if body.period is not None:
        yield {"record": "period", "first_seen": body.period.since, "last_seen": body.period.until}
        for event in body.period.events:
            yield {
                "record": "event",
                "id": event.finding,
                "agents": event.agent,
                "severity": event.severity,
                "status": event.what,
                "first_seen": event.at,
                "last_seen": event.at,
                "owner": event.by,
                "text": event.text,
            }
    for pair in body.matrix.pairs:
        ends = {"source": pair.source, "destination": pair.destination}
        yield {"record": "pair", **ends, **_counts(pair.results, entries.get((pair.source, pair.destination)))}
    for path in body.paths:
        yield {
            "record": "path",
            "id": path.name,
            "declared": path.expect,
            "result": path.result,
            **_ends(path),
        }
    for waiver in body.waivers:
        status = "in force" if waiver.in_force else "expired"
        yield {"record": "waiver", "id": waiver.id, "status": status, "expires": waiver.expires, **_ends(waiver)}
    for entry in body.findings:
        yield _finding(entry)
    for one in body.unproven:
        yield {
            "record": "unproven",
            "source": one.source,
            "agents": " ".join(one.agents),
            "destination": one.destination,
            "service": one.service,
            "addresses": one.address,
            "protocol": one.protocol,
            "ports": one.ports,
            "reason": one.reason,
            "result": one.result,
            "status": "required" if one.required else "need not be proven",
            "cells": one.cells,
            "text": one.means,
            "settle": one.settle,
        }
    for untested in body.untested:
        yield {
            "record": "untested",
            "source": untested.source,
            "destination": untested.destination,
            "text": "not a single cell",
        }
    for protocol in body.coverage.not_tested:
        yield {"record": "not-tested", "protocol": protocol, "text": "no probe tries it"}
    for lost in body.coverage.lost:
        yield {
            "record": "lost",
            "source": lost.environment,
            "agents": lost.agent,
            "reason": " ".join(lost.why),
            "first_seen": lost.since,
            "last_seen": lost.until,
            "text": why_lost(lost),
            "reports": lost.reports,
        }


def _counts(results: Counts, entry: Coverage | PairCoverage | None) -> Line:
    names = ("cells", "required", "proven", "coverage", "no_packet", "no_session", "beyond_proof")
    return {
        **msgspec.to_builtins(results),
        **{name: getattr(entry, name) for name in names if entry is not None},
    }


def _ends(entry: DeclaredPath | DeclaredWaiver) -> Line:
    return {
        "source": entry.source,
        "destination": entry.destination,
        "ports": entry.ports,
        "cells": entry.cells,
        "owner": entry.owner,
        "text": entry.justification,
    }


def _finding(entry: ReportedFinding) -> Line:
    finding, taken = entry.finding, entry.acknowledged
    names = (
        "protocol",
        "ports",
        "declared",
        "reachability",
        "proof",
        "reason",
        "result",
        "severity",
        "status",
        "cells",
    )
    return {
        "record": "finding",
        "id": finding.id,
        "source": finding.source.environment,
        "agents": finding.source.agent.replace(",", " "),
        "destination": finding.destination.environment,
        "service": finding.destination.service,
        "addresses": " ".join(finding.destination.addresses),
        **{name: getattr(finding, name) for name in names},
        "first_seen": finding.first_seen,
        "last_seen": finding.last_seen,
        "owner": taken.by if taken else None,
        "text": finding.identified,
        "settle": "; ".join(entry.settle),
        "flapping": f"{finding.recent.changes} changes in {finding.recent.rounds} rounds" if finding.flapping else None,
    }
