"""A verify run compared with a baseline: what is known to fail stays shown, and fails nothing until its entry ends."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from cli.errors import Problem
from cli.files import piped, replace_file
from cli.show.grid import where
from cli.show.held import HeldBaseline, HeldCounts, HeldEntry, HeldFinding, HeldVerified, Known, known
from cli.show.render import Paint, clean, parse_time, plural, short_ports
from coordinator.api.responses.estate import Counts, Finding
from coordinator.api.responses.runs import Check, FailingCells, FinishedRun, Verified
from coordinator.topology.baseline import BaselineErrors, baseline_text, load_baseline, parse_baseline
from coordinator.topology.load import MOST_BYTES
from reachability.baseline import Baseline, Entry, Failing, Held, renewed
from reachability.fold import Kind
from reachability.ports import ICMP_CELL, PortSet
from reachability.topology import PortSpec
from reachability.vocabulary import Protocol


def load(path: Path, *, missing_ok: bool = False) -> Baseline:
    """The baseline of a file; Problem with all of its errors."""
    if missing_ok and not path.exists():
        return Baseline((), os.fspath(path))
    try:
        content = piped(path, MOST_BYTES)
        return load_baseline(path) if content is None else parse_baseline(content, os.fspath(path))
    except BaselineErrors as error:
        more = [] if path.exists() else ["Write one: segwatch verify --write-baseline FILE --owner NAME"]
        raise Problem(f"the baseline has {plural(len(error.errors), 'error')}:", *error.errors, *more) from error


def write(baseline: Baseline, run: FinishedRun, *, owner: str, expires: datetime, reason: str) -> Baseline:
    """Write what fails now into the baseline's file, beside its entries that still hold; what was written."""
    now = finished(run)
    found = fresh(baseline, run, owner=owner, expires=expires, reason=reason)
    text = baseline_text(renewed(baseline, found, now))
    try:
        written = parse_baseline(text.encode(), baseline.file)
    except BaselineErrors as error:  # before the old file is gone
        raise Problem("no baseline can be made from this --owner or --reason:", *error.errors) from error
    replace_file(Path(baseline.file), text)
    return written


def finished(run: FinishedRun) -> datetime:
    """When the run was over, by the coordinator's clock: whether an entry still holds or has ended is decided at that time."""
    at = parse_time(run.result.finished)
    assert at is not None
    return at


def fresh(baseline: Baseline, run: FinishedRun, *, owner: str, expires: datetime, reason: str) -> list[Entry]:
    """Entries for the failing cells that no lasting entry knows, as few as name exactly those."""
    now = finished(run)
    groups: dict[tuple[Any, ...], dict[str, list[str]]] = {}  # -> agent -> addresses
    for cell in run.failing:
        failing = _failing(cell)
        held = baseline.hold(failing, now)
        if not (unknown := held.ended | held.new):
            continue
        alike = (cell.finding or "", failing.kind, failing.source, failing.destination, failing.protocol, unknown)
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


def hold(run: FinishedRun, baseline: Baseline) -> FinishedRun:
    """The run as the baseline leaves it.

    A finding all of whose cells are known has the result `baselined`; each failing one says in `baseline` what the file
    says of it. The run fails while a failing cell is not known; else it is judged by what is proven, as ever.
    """
    now, before = finished(run), run.result
    held = [(cell, baseline.hold(_failing(cell), now)) for cell in run.failing]
    summary = _counts(before.summary, sum(len(one.known) for _, one in held))
    result = before.result
    if result == "fail" and not summary.fail:
        coverage = run.coverage
        open_ = coverage.inconclusive + coverage.stale + coverage.not_run or before.untested
        result = "inconclusive" if open_ else "pass"
    after = {
        "result": result,
        "summary": summary,
        "findings": tuple(
            _finding(finding, [(cell, one) for cell, one in held if cell.finding == finding.id], baseline, now)
            for finding in before.findings
        ),
        "baseline": HeldBaseline(
            file=baseline.file,
            entries=tuple(_entry(entry, [_failing(cell) for cell, _ in held], now) for entry in baseline.entries),
        ),
    }
    return msgspec.structs.replace(
        run,
        result=HeldVerified(**{**msgspec.structs.asdict(before), **after}),
        checks=tuple(_check(check, held) for check in run.checks),
    )


def lines(result: Verified, style: Paint) -> list[str]:
    """What a baseline has to say about a run, a line each; nothing where there is none."""
    said: list[str] = []
    for finding in result.findings:
        if known(finding) is not None:
            glyph = style("~", "warn") if finding.result == "baselined" else style("!", "bad")
            said.append(f"{glyph} {of_finding(finding)}")
    if isinstance(result, HeldVerified):
        held = result.baseline
        for entry in held.entries:
            if not entry.cells:
                named = entry.finding or f"{entry.source} → {entry.destination}"
                text = f"  {held.file}:{entry.line}: nothing that {named} names fails in this run"
                said.append(style(text, "dim"))
    return said


def of_finding(finding: Finding) -> str:
    """What a baseline says of a finding, as one sentence."""
    said = known(finding)
    what = f"{where(finding)} {short_ports(finding.ports, finding.protocol)}"
    if said is None:
        return f"{what} is not in the baseline"
    owner, until = clean(said.owner or ""), day(said.expires or "")
    match said.state:
        case "known":
            return f"{what} is known ({finding.id}): {owner}, until {until}, {said.at}"
        case "ended":
            return f"{what}: its entry of {owner} ended on {until} ({said.at}): close it, or renew it"
        case "grown":
            return f"{what} has grown: {said.at} ({owner}) does not name {', '.join(said.new)}"
        case _:
            return f"{what} is not in the baseline"


def day(text: str) -> str:
    """`2027-01-31`."""
    return text[:10]


def _failing(cell: FailingCells) -> Failing:
    try:
        kind, protocol = Kind(cell.kind), Protocol(cell.protocol)
        ports = ICMP_CELL if cell.ports is None else PortSet.parse(cell.ports)
    except ValueError as error:
        raise Problem(
            f"the run has a failing cell that no baseline of this version can hold: {error}",
            "The command and the coordinator must be of one version: segwatch --version on both hosts.",
        ) from error
    return Failing(
        kind=kind,
        source=cell.source,
        agent=cell.agent,
        destination=cell.destination,
        address=cell.address,
        protocol=protocol,
        ports=ports,
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


def _finding(
    finding: Finding, held: Sequence[tuple[FailingCells, Held]], baseline: Baseline, now: datetime
) -> HeldFinding:
    about = msgspec.structs.asdict(finding)
    if finding.result != "fail":
        return HeldFinding(**about, baseline=None)
    entries = [entry for _, one in held for entry in one.entries]
    new = [
        f"{cell.agent} → {cell.address} {cell.protocol}" + ("" if cell.ports is None else f"/{one.new}")
        for cell, one in held
        if one.new
    ]
    ended = any(one.ended for _, one in held)
    state = "new" if not entries else "grown" if new else "ended" if ended else "known"
    shown = min(entries, key=lambda entry: (entry.expires > now) is (state == "ended"), default=None)
    said = Known(
        state=state,
        owner=shown.owner if shown else None,
        expires=_iso(shown.expires) if shown else None,
        justification=(shown.justification or None) if shown else None,
        at=f"{baseline.file}:{shown.mark.line}" if shown else None,
        new=tuple(new) if entries else (),
    )
    result = "baselined" if state == "known" else finding.result
    return HeldFinding(**{**about, "result": result}, baseline=said)


def _entry(entry: Entry, failing: Iterable[Failing], now: datetime) -> HeldEntry:
    return HeldEntry(
        finding=entry.finding or None,
        kind=entry.kind.value,
        source=entry.source,
        destination=entry.destination,
        addresses=tuple(entry.addresses),
        ports=tuple(str(entry.ports).split()),
        owner=entry.owner,
        expires=_iso(entry.expires),
        line=entry.mark.line,
        state="in-force" if entry.expires > now else "ended",
        cells=sum(len(entry.names(one)) for one in failing),
    )


def _check(check: Check, held: Iterable[tuple[FailingCells, Held]]) -> Check:
    mine = [
        one
        for cell, one in held
        if (cell.source, cell.destination, cell.path) == (check.source, check.destination, check.path)
    ]
    results = _counts(check.results, sum(len(one.known) for one in mine))
    result = check.result
    if result == "fail" and not results.fail:
        result = "inconclusive" if check.required_unproven else "baselined"
    return msgspec.structs.replace(check, result=result, results=results)


def _counts(counts: Counts, known: int) -> HeldCounts:
    return HeldCounts(**{**msgspec.structs.asdict(counts), "fail": counts.fail - known}, baselined=known)


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
