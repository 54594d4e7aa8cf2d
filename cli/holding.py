"""A verify run held against a baseline and a severity: what fails and is let be stays shown, and fails nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from cli.baseline import failing_of, finished
from cli.show.grid import where
from cli.show.held import (
    HeldBaseline,
    HeldCounts,
    HeldEntry,
    HeldFinding,
    HeldSeverity,
    HeldVerified,
    Known,
    known,
)
from cli.show.render import Paint, clean, short_ports
from coordinator.api.responses.estate import Counts, Finding
from coordinator.api.responses.runs import Check, FailingCells, FinishedRun, Verified
from reachability.baseline import Baseline, Entry, Failing, Held
from reachability.vocabulary import Sensitivity

SEVERITIES = tuple(severity.value for severity in Sensitivity)  # rising


@dataclass(frozen=True, slots=True)
class _Weighed:
    """Failing cells, what the baseline says of them, and how many that it does not know are below the severity."""

    cell: FailingCells
    failing: Failing
    held: Held
    below: int


def hold(run: FinishedRun, baseline: Baseline | None = None, severity: str | None = None) -> FinishedRun:
    """The run as a baseline, and the severity from which on a finding fails it, leave it; None: without one.

    A finding all of whose cells are known has the result `baselined`, another one below the severity `below`; each failing
    one says in `baseline` what the file says of it. The run fails while a failing cell is neither; else it is judged by
    what is proven, as ever.
    """
    now, before = finished(run), run.result
    weighed = _weighed(run, baseline or Baseline(), severity, now)
    adds = _Adds(baseline is not None, severity)
    summary = adds.counts(before.summary, weighed)
    result = before.result
    if result == "fail" and not summary.fail:
        coverage = run.coverage
        open_ = coverage.inconclusive + coverage.stale + coverage.not_run or before.untested
        result = "inconclusive" if open_ else "pass"
    after: dict[str, Any] = {
        "result": result,
        "summary": summary,
        "findings": tuple(
            _finding(finding, [one for one in weighed if one.cell.finding == finding.id], baseline, severity, now)
            for finding in before.findings
        ),
    }
    if baseline is not None:
        entries = tuple(_entry(entry, [one.failing for one in weighed], now) for entry in baseline.entries)
        after["baseline"] = HeldBaseline(file=baseline.file, entries=entries)
    if severity is not None:
        after["severity"] = HeldSeverity(start=severity, below=sum(one.below for one in weighed))
    return msgspec.structs.replace(
        run,
        result=HeldVerified(**{**msgspec.structs.asdict(before), **after}),
        checks=tuple(_check(check, weighed, adds) for check in run.checks),
    )


def lines(result: Verified, style: Paint) -> list[str]:
    """What a baseline and a severity have to say about a run, a line each; nothing where there is neither."""
    said: list[str] = []
    for finding in result.findings:
        if known(finding) is not None or finding.result == "below":
            glyph = style("!", "bad") if finding.result == "fail" else style("~", "warn")
            said.append(f"{glyph} {of_finding(finding)}")
    if isinstance(result, HeldVerified) and result.baseline:
        held = result.baseline
        for entry in held.entries:
            if not entry.cells:
                named = entry.finding or f"{entry.source} → {entry.destination}"
                text = f"  {held.file}:{entry.line}: nothing that {named} names fails in this run"
                said.append(style(text, "dim"))
    return said


def of_finding(finding: Finding) -> str:
    """What a severity and a baseline say of a finding, as one sentence."""
    said = known(finding)
    what = f"{where(finding)} {short_ports(finding.ports, finding.protocol)}"
    below = ""
    if isinstance(finding, HeldFinding) and finding.result == "below":
        below = f"{what} is below the threshold ({finding.id}): {finding.severity}, and fails from {finding.below} on"
    if said is None:
        return below or f"{what} is not in the baseline"
    owner, until = clean(said.owner or ""), day(said.expires or "")
    match said.state:
        case "known":
            return f"{what} is known ({finding.id}): {owner}, until {until}, {said.at}"
        case "ended":
            text = f"its entry of {owner} ended on {until} ({said.at}): close it, or renew it"
            return f"{below}; {text}" if below else f"{what}: {text}"
        case "grown":
            text = f"has grown: {said.at} ({owner}) does not name {', '.join(said.new)}"
            return f"{below}; it {text}" if below else f"{what} {text}"
        case _:
            return below or f"{what} is not in the baseline"


def day(text: str) -> str:
    """`2027-01-31`."""
    return text[:10]


def _weighed(run: FinishedRun, baseline: Baseline, severity: str | None, now: datetime) -> list[_Weighed]:
    severities = {finding.id: finding.severity for finding in run.result.findings}
    weighed = []
    for cell in run.failing:
        failing = failing_of(cell)
        held = baseline.hold(failing, now)
        unknown = len(failing.ports) - len(held.known)
        # Of no finding yet: by what it would be. Of a coordinator that does not say that: it fails.
        low = _is_below(severities.get(cell.finding or "", cell.severity), severity)
        weighed.append(_Weighed(cell, failing, held, unknown if low else 0))
    return weighed


def _is_below(found: str | None, severity: str | None) -> bool:
    """Whether a severity is known to be below; one that this version does not know is not."""
    if severity is None or found not in SEVERITIES:
        return False
    return SEVERITIES.index(found) < SEVERITIES.index(severity)


def _finding(
    finding: Finding, weighed: Sequence[_Weighed], baseline: Baseline | None, severity: str | None, now: datetime
) -> HeldFinding:
    fails = finding.result == "fail"
    more: dict[str, Any] = {}
    if severity is not None:
        more["below"] = severity if fails and _is_below(finding.severity, severity) else None
    if baseline is not None:
        more["baseline"] = _known(weighed, baseline.file, now) if fails else None
    result = finding.result
    if more.get("below") is not None:
        result = "below"
    if (said := more.get("baseline")) is not None and said.state == "known":
        result = "baselined"
    return HeldFinding(**{**msgspec.structs.asdict(finding), **more, "result": result})


def _known(weighed: Sequence[_Weighed], file: str, now: datetime) -> Known:
    entries = [entry for one in weighed for entry in one.held.entries]
    new = [
        f"{one.cell.agent} → {one.cell.address} {one.cell.protocol}"
        + ("" if one.cell.ports is None else f"/{one.held.new}")
        for one in weighed
        if one.held.new
    ]
    ended = any(one.held.ended for one in weighed)
    state = "new" if not entries else "grown" if new else "ended" if ended else "known"
    shown = min(entries, key=lambda entry: (entry.expires > now) is (state == "ended"), default=None)
    return Known(
        state=state,
        owner=shown.owner if shown else None,
        expires=_iso(shown.expires) if shown else None,
        justification=(shown.justification or None) if shown else None,
        at=f"{file}:{shown.mark.line}" if shown else None,
        new=tuple(new) if entries else (),
    )


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


@dataclass(frozen=True, slots=True)
class _Adds:
    """What counts say beside the results: by a baseline, by a severity, by both."""

    baseline: bool
    severity: str | None

    def counts(self, counts: Counts, weighed: Iterable[_Weighed]) -> HeldCounts:
        """With the known cells, and those below, taken out of those that fail."""
        found = [(len(one.held.known), one.below) for one in weighed]
        baselined, below = (sum(column) for column in zip(*found, strict=True)) if found else (0, 0)
        more = {"fail": counts.fail - baselined - below}
        more |= {"baselined": baselined} if self.baseline else {}
        more |= {"below": below} if self.severity is not None else {}
        return HeldCounts(**{**msgspec.structs.asdict(counts), **more})


def _check(check: Check, weighed: Iterable[_Weighed], adds: _Adds) -> Check:
    mine = [
        one
        for one in weighed
        if (one.cell.source, one.cell.destination, one.cell.path) == (check.source, check.destination, check.path)
    ]
    results = adds.counts(check.results, mine)
    result = check.result
    if result == "fail" and not results.fail:
        result = "inconclusive" if check.required_unproven else "below" if results.below else "baselined"
    return msgspec.structs.replace(check, result=result, results=results)


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
