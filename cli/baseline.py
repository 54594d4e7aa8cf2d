"""A verify run compared with a baseline: what is known to fail stays shown, and fails nothing until its entry ends."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.errors import Problem
from cli.files import replace_file
from cli.show.grid import where
from cli.show.render import Paint, clean, parse_time, plural, short_ports
from coordinator.topology.baseline import BaselineErrors, baseline_text, load_baseline, parse_baseline
from reachability.baseline import Baseline, Entry, Failing, Held, renewed
from reachability.fold import Kind
from reachability.ports import ICMP_CELL, PortSet
from reachability.topology import PortSpec
from reachability.vocabulary import Protocol

Body = dict[str, Any]


def load(path: Path, *, missing_ok: bool = False) -> Baseline:
    """The baseline of a file; Problem with all of its errors."""
    if missing_ok and not path.exists():
        return Baseline((), os.fspath(path))
    try:
        return load_baseline(path)
    except BaselineErrors as error:
        more = [] if path.exists() else ["Write one: segwatch verify --write-baseline FILE --owner NAME"]
        raise Problem(f"the baseline has {plural(len(error.errors), 'error')}:", *error.errors, *more) from error


def write(baseline: Baseline, body: Body, *, owner: str, expires: datetime, reason: str) -> Baseline:
    """Write what fails now into the baseline's file, beside its entries that still hold; what was written."""
    now = finished(body)
    found = fresh(baseline, body, owner=owner, expires=expires, reason=reason)
    text = baseline_text(renewed(baseline, found, now))
    try:
        written = parse_baseline(text.encode(), baseline.file)
    except BaselineErrors as error:  # before the old file is gone
        raise Problem("no baseline can be made from this --owner or --reason:", *error.errors) from error
    replace_file(Path(baseline.file), text)
    return written


def finished(body: Body) -> datetime:
    """When the run was over, by the coordinator's clock: whether an entry still holds or has ended is decided at that time."""
    at = parse_time(body["result"]["finished"])
    assert at is not None
    return at


def fresh(baseline: Baseline, body: Body, *, owner: str, expires: datetime, reason: str) -> list[Entry]:
    """Entries for the failing cells that no lasting entry knows, as few as name exactly those."""
    now = finished(body)
    groups: dict[tuple[Any, ...], dict[str, list[str]]] = {}  # -> agent -> addresses
    for cell in body["failing"]:
        failing = _failing(cell)
        held = baseline.hold(failing, now)
        if not (unknown := held.ended | held.new):
            continue
        alike = (cell["finding"] or "", failing.kind, failing.source, failing.destination, failing.protocol, unknown)
        groups.setdefault(alike, {}).setdefault(failing.agent, []).append(failing.address)
    return [
        Entry(
            finding=finding,
            kind=kind,
            source=source,
            destination=destination,
            agents=tuple(agents),
            addresses=addresses,
            ports=_spec(protocol, ports),
            owner=owner,
            expires=expires,
            justification=reason,
        )
        for (finding, kind, source, destination, protocol, ports), by_agent in groups.items()
        for addresses, agents in _turned(by_agent)
    ]


def hold(body: Body, baseline: Baseline) -> Body:
    """The run as the baseline leaves it.

    A finding all of whose cells are known has the result `baselined`; each failing one says in `baseline` what the file
    says of it. The run fails while a failing cell is not known; else it is judged by what is proven, as ever.
    """
    now = finished(body)
    held = [(cell, baseline.hold(_failing(cell), now)) for cell in body["failing"]]
    findings = [
        _finding(finding, [(cell, one) for cell, one in held if cell["finding"] == finding["id"]], baseline, now)
        for finding in body["result"]["findings"]
    ]
    known = sum(len(one.known) for _, one in held)
    result: Body = {**body["result"], "findings": findings}
    result["summary"] = {**result["summary"], "fail": result["summary"]["fail"] - known, "baselined": known}
    result["baseline"] = {
        "file": baseline.file,
        "entries": [_entry(entry, [_failing(cell) for cell, _ in held], now) for entry in baseline.entries],
    }
    if result["result"] == "fail" and not result["summary"]["fail"]:
        coverage = body["coverage"]
        open_ = coverage["inconclusive"] + coverage["stale"] + coverage["not_run"] or result["untested"]
        result["result"] = "inconclusive" if open_ else "pass"
    return {**body, "result": result, "checks": [_check(check, held) for check in body["checks"]]}


def lines(result: Mapping[str, Any], style: Paint) -> list[str]:
    """What a baseline has to say about a run, a line each; nothing where there is none."""
    said: list[str] = []
    for finding in result["findings"]:
        if finding.get("baseline"):
            glyph = style("~", "warn") if finding["result"] == "baselined" else style("!", "bad")
            said.append(f"{glyph} {of_finding(finding)}")
    for entry in result.get("baseline", {}).get("entries", ()):
        if not entry["cells"]:
            named = entry["finding"] or f"{entry['from']} → {entry['to']}"
            text = f"  {result['baseline']['file']}:{entry['line']}: nothing that {named} names fails in this run"
            said.append(style(text, "dim"))
    return said


def of_finding(finding: Mapping[str, Any]) -> str:
    """What a baseline says of a finding, as one sentence."""
    known = finding["baseline"]
    what = f"{where(finding)} {short_ports(finding['ports'], finding['protocol'])}"
    owner = clean(known["owner"] or "")
    match known["state"]:
        case "known":
            return f"{what} is known ({finding['id']}): {owner}, until {day(known['expires'])}, {known['at']}"
        case "ended":
            return (
                f"{what}: its entry of {owner} ended on {day(known['expires'])} ({known['at']}): close it, or renew it"
            )
        case "grown":
            return f"{what} has grown: {known['at']} ({owner}) does not name {', '.join(known['new'])}"
        case _:
            return f"{what} is not in the baseline"


def day(text: str) -> str:
    """`2027-01-31`."""
    return text[:10]


def _failing(cell: Mapping[str, Any]) -> Failing:
    return Failing(
        kind=Kind(cell["kind"]),
        source=cell["source"],
        agent=cell["agent"],
        destination=cell["destination"],
        address=cell["address"],
        protocol=Protocol(cell["protocol"]),
        ports=ICMP_CELL if cell["ports"] is None else PortSet.parse(cell["ports"]),
    )


def _spec(protocol: Protocol, ports: PortSet) -> PortSpec:
    match protocol:
        case Protocol.TCP:
            return PortSpec(tcp=ports)
        case Protocol.UDP:
            return PortSpec(udp=ports)
        case Protocol.ICMP:
            return PortSpec(icmp=True)


def _turned(by_agent: Mapping[str, Iterable[str]]) -> Iterable[tuple[tuple[str, ...], list[str]]]:
    """Agents by the addresses that they share."""
    turned: dict[tuple[str, ...], list[str]] = {}
    for agent, addresses in by_agent.items():
        turned.setdefault(tuple(dict.fromkeys(addresses)), []).append(agent)
    return turned.items()


def _finding(finding: Body, held: Sequence[tuple[Mapping[str, Any], Held]], baseline: Baseline, now: datetime) -> Body:
    if finding["result"] != "fail":
        return {**finding, "baseline": None}
    entries = [entry for _, one in held for entry in one.entries]
    new = [
        f"{cell['agent']} → {cell['address']} {cell['protocol']}" + ("" if cell["ports"] is None else f"/{one.new}")
        for cell, one in held
        if one.new
    ]
    ended = any(one.ended for _, one in held)
    state = "new" if not entries else "grown" if new else "ended" if ended else "known"
    shown = min(entries, key=lambda entry: (entry.expires > now) is (state == "ended"), default=None)
    return {
        **finding,
        "result": "baselined" if state == "known" else finding["result"],
        "baseline": {
            "state": state,
            "owner": shown.owner if shown else None,
            "expires": _iso(shown.expires) if shown else None,
            "justification": (shown.justification or None) if shown else None,
            "at": f"{baseline.file}:{shown.mark.line}" if shown else None,
            "new": new if entries else [],
        },
    }


def _entry(entry: Entry, failing: Iterable[Failing], now: datetime) -> Body:
    return {
        "finding": entry.finding or None,
        "kind": entry.kind.value,
        "from": entry.source,
        "to": entry.destination,
        "addresses": list(entry.addresses),
        "ports": str(entry.ports).split(),
        "owner": entry.owner,
        "expires": _iso(entry.expires),
        "line": entry.mark.line,
        "state": "in-force" if entry.expires > now else "ended",
        "cells": sum(len(entry.names(one)) for one in failing),
    }


def _check(check: Body, held: Iterable[tuple[Mapping[str, Any], Held]]) -> Body:
    mine = [
        one
        for cell, one in held
        if (cell["source"], cell["destination"], cell["path"]) == (check["source"], check["destination"], check["path"])
    ]
    known = sum(len(one.known) for one in mine)
    results = {**check["results"], "fail": check["results"]["fail"] - known, "baselined": known}
    result = check["result"]
    if result == "fail" and not results["fail"]:
        result = "inconclusive" if check["required_unproven"] else "baselined"
    return {**check, "result": result, "results": results}


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
