"""A report in which others said something, and its page as a tree."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree as ET

from coordinator.api import report
from coordinator.api.responses.report import Report
from reachability.ports import PortSet
from reachability.topology import PortSpec, Selector, Waiver
from tests.support.answers import as_struct, json_of
from tests.support.sample import NOW, Estate

EVIL = (
    "<script>alert(1)</script>\"><img src=x onerror=alert(1)>'&lt; {{ 7 * 7 }} {% raw %} ``` | [x](javascript:alert(1)) "
    "![y](http://192.0.2.1/z) \x1b[31m \u202e=cmd"
)


PERIOD = report.Span(NOW.timestamp() - 86400, NOW.timestamp())


def body_of(said: str = "an HTTP answer", **estate: bool) -> Report:
    """A report in which all that others may say is `said`."""
    ends = (Selector("dev", environment="dev"), Selector("prod.feature-store", "prod", service="feature-store"))
    made = Estate(undecided=True, waivers=(waiver(said, ends),), **estate)
    [finding] = made.book.findings
    made.events.append(made.book.acknowledge(finding.id, said, said, NOW))
    path = replace(made.topology.paths[0], owner=said, justification=said)
    made.topology = replace(made.topology, paths=(path,), file=said)
    body = json_of(report.report(made.snapshot(PERIOD)))
    for agent in body["agents"]:
        agent.update(raw=False, lacks=said, version=said, addresses=[said])
    [entry] = body["findings"]
    entry["finding"]["identified"] = entry["evidence"]["note"] = said
    entry["finding"]["reason"] = entry["evidence"]["control_by"] = entry["evidence"]["no_witness_why"] = said
    entry["evidence"]["refused_by"] = entry["evidence"]["via"] = said
    return as_struct(body, Report)


def waiver(said: str, ends: tuple[Selector, Selector]) -> Waiver:
    return Waiver("W-1", *ends, PortSpec(tcp=PortSet.of([6379])), said, said, NOW + timedelta(days=30))


def tree(html: str) -> ET.Element:
    return ET.fromstring(html.split("\n", 1)[1] if html.startswith("<!DOCTYPE html>\n") else html)
