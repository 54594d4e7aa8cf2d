"""A verify run as SARIF 2.1.0: a result per finding, at the lines of the topology that decide it, and one per unproven host.

The standard: docs.oasis-open.org/sarif/sarif/v2.1.0. What is baselined, below the severity or waived is there too, as suppressed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec

from cli.holding import of_finding
from cli.show.grid import harm, headline, where
from cli.show.held import known
from cli.show.render import short_ports
from coordinator.api.responses.estate import Finding
from coordinator.api.responses.runs import Decision, FinishedRun, Unproven

Log = dict[str, Any]
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_RULES = (
    (
        "unexpected-path",
        "A path that the topology does not declare is open",
        (
            "What no path of the topology names is denied, and this was shown to get through. Close it in the firewall, "
            "declare it, or waive it for a while."
        ),
        "error",
    ),
    (
        "missing-path",
        "A path that the topology requires does not work",
        (
            "The topology says `expect: required` of it, and it was shown not to work. Open it in the firewall, see that the "
            "service listens, or take `required` out."
        ),
        "error",
    ),
    (
        "unproven",
        "What must be proven is not",
        (
            "Silence is not evidence: nothing shows that a packet would have been seen had it crossed. The result says what "
            "would settle it."
        ),
        "warning",
    ),
)
_INDEX = {rule[0]: index for index, rule in enumerate(_RULES)}


def sarif(run: FinishedRun, topology: str) -> str:
    """The file's text; `topology` is the URI of the topology, relative to the root of the checkout."""
    result = run.result
    results = [
        _finding(finding, run.decided.get(finding.id), topology)
        for finding in result.findings
        if finding.result != "pass"
    ]
    results += [_unproven(entry, run.environments, topology) for entry in run.unproven if entry.required]
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "segwatch", "version": version("segwatch"), "rules": _rules()}},
                "automationDetails": {"id": "segwatch/verify/"},
                "columnKind": "unicodeCodePoints",
                "invocations": [
                    {
                        "executionSuccessful": not (run.ended or run.stopped),
                        "startTimeUtc": result.started,
                        "endTimeUtc": result.finished,
                        "properties": {"result": result.result, "summary": msgspec.to_builtins(result.summary)},
                    }
                ],
                "artifacts": [{"location": {"uri": topology}, "roles": ["userSpecifiedConfiguration"]}],
                "results": results,
            }
        ],
    }
    return json.dumps(log, indent=2) + "\n"


def _rules() -> list[Log]:
    return [
        {
            "id": name,
            "shortDescription": {"text": short},
            "fullDescription": {"text": full},
            "help": {"text": full},
            "defaultConfiguration": {"level": level},
            "properties": {"tags": ["security", "network"], "precision": "very-high"},
        }
        for name, short, full, level in _RULES
    ]


def _finding(finding: Finding, decided: Decision | None, topology: str) -> Log:
    what = f"{where(finding)} {short_ports(finding.ports, finding.protocol)}"
    text = f"{headline(finding)}: {what} is {finding.reachability} (proof: {finding.proof})."
    if decided is not None:
        text += f" Declared: {decided.text}."
    text += "".join(
        f" {one[:1].upper()}{one[1:]}." for one in (harm(finding), *(decided.next if decided else ())) if one
    )
    text += f" Why: segwatch explain {finding.id}"
    place = _location(topology, (decided.lines if decided else None) or (1, 1))
    body: Log = {
        "ruleId": finding.kind,
        "ruleIndex": _INDEX.get(finding.kind, -1),
        "level": "error",
        "message": {"text": text},
        "locations": [place],
        "partialFingerprints": {"primaryLocationLineHash": _fingerprint(finding)},
        "properties": {
            "finding": finding.id,
            "severity": finding.severity,
            "tags": list(finding.cwe),
            "first_seen": finding.first_seen,
            "cells": finding.cells,
            "flapping": finding.flapping,
        },
    }
    near = decided.nearest if decided else None
    if near:
        related = _location(topology, (near.line, near.line))
        body["relatedLocations"] = [
            {
                **related,
                "id": 1,
                "message": {"text": f"nearest: path '{near.path}' from {near.source} to {near.destination}"},
            }
        ]
    held = known(finding)
    if held:
        body["baselineState"] = {"known": "unchanged", "ended": "unchanged", "grown": "updated"}.get(held.state, "new")
    if finding.result != "fail":
        waiver = decided.waiver if decided else None
        let_be = held or finding.result == "below"
        words = of_finding(finding) if let_be else f"waived by {waiver.id}" if waiver else "waived"
        body["suppressions"] = [{"kind": "external", "status": "accepted", "justification": words}]
    return body


def _unproven(entry: Unproven, environments: Mapping[str, int], topology: str) -> Log:
    what = f"{entry.source} → {entry.destination} {entry.address}"
    ports = short_ports(entry.ports, entry.protocol)
    said = f"unknown, {entry.reason}" if entry.reason else entry.result
    line = max(environments.get(entry.destination, 1), 1)
    alike = (
        entry.source,
        entry.destination,
        entry.address,
        entry.protocol,
        entry.result,
        entry.reason,
    )
    return {
        "ruleId": "unproven",
        "ruleIndex": _INDEX["unproven"],
        "level": "warning",
        "message": {"text": f"{what} {ports} is not proven ({said}): {entry.means}. To settle it: {entry.settle}."},
        "locations": [_location(topology, (line, line))],
        "partialFingerprints": {"primaryLocationLineHash": _hash("unproven", *map(str, alike))},
        "properties": {"cells": entry.cells, "result": entry.result},
    }


def _location(topology: str, lines: tuple[int, int]) -> dict[str, Any]:
    first = max(lines[0], 1)
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": topology, "index": 0},
            "region": {"startLine": first, "endLine": max(first, lines[1])},
        }
    }


def _fingerprint(finding: Finding) -> str:
    """What stays the same over runs and coordinators: what the finding is, not what it is called."""
    source, destination = finding.source.environment, finding.destination
    place = (destination.environment, *sorted(destination.addresses))
    return _hash(finding.kind, source, *place, finding.protocol, finding.ports or "")


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32] + ":1"
