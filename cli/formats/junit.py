"""A verify run as a JUnit file: a test case per (source, destination, path), and one per pair for all that is denied."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import msgspec

from cli.holding import of_finding
from cli.show.held import known
from cli.show.render import parse_time
from coordinator.api.responses.estate import Finding
from coordinator.api.responses.runs import Check, FinishedRun

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2


def junit(run: FinishedRun) -> str:
    """The file's text. A leak is a failure; what is inconclusive, stale or not run is an error; a waiver skips."""
    result = run.result
    started, finished = parse_time(result.started), parse_time(result.finished)
    seconds = (finished - started).total_seconds() if started and finished else 0.0
    suite = ET.Element("testsuite", name="segwatch verify", time=f"{seconds:.3f}")
    if started:
        suite.set("timestamp", started.strftime("%Y-%m-%dT%H:%M:%S"))
    for check in run.checks:
        _case(suite, check, result.findings)
    counts = {tag: len(suite.findall(f"testcase/{tag}")) for tag in ("failure", "error", "skipped")}
    for holder in (suite, root := ET.Element("testsuites", name="segwatch")):
        holder.set("tests", str(len(run.checks)))
        holder.set("failures", str(counts["failure"]))
        holder.set("errors", str(counts["error"]))
    suite.set("skipped", str(counts["skipped"]))
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, check: Check, findings: Sequence[Finding]) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"{check.source} to {check.destination}", name=check.path)
    text = _safe("\n".join(check.evidence))
    results = {name: count for name, count in msgspec.to_builtins(check.results).items() if count}
    summary = ", ".join(f"{count} {name.replace('_', '-')}" for name, count in results.items())
    match check.result:
        case "pass":
            ET.SubElement(case, "system-out").text = text
        case "fail":
            names = "".join(f" {name}" for name in check.findings)
            mine = [f for f in findings if f.id in check.findings and (known(f) or f.result == "below")]
            text = "\n".join([*(_said(f) for f in mine), text])
            kind = "missing-path" if check.declared == "required" else "unexpected-path"
            ET.SubElement(case, "failure", type=kind, message=f"{summary}{names}").text = text
        case "baselined" | "below":
            mine = [f for f in findings if f.id in check.findings and f.result in {"baselined", "below"}]
            ET.SubElement(case, "skipped", message="; ".join(_safe(of_finding(f)) for f in mine) or summary)
            ET.SubElement(case, "system-out").text = text
        case "waived":
            ET.SubElement(case, "skipped", message=summary)
            ET.SubElement(case, "system-out").text = text
        case other:
            message = f"{check.required_unproven} required cells are not proven: {summary}"
            ET.SubElement(case, "error", type=other, message=message).text = text


def _said(finding: Finding) -> str:
    return f"{'severity' if finding.result == 'below' else 'baseline'}: {_safe(of_finding(finding))}"


def _safe(text: str) -> str:
    return _FORBIDDEN.sub("?", text)
