"""What the page and the Markdown say alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cli.show.evidence import controls, heard, limits, sent, target, witness
from cli.show.grid import counted, harm, headline, live, standing, standing_counted, where
from cli.show.losses import lost_line
from cli.show.render import parse_time, plural, short_ports
from cli.show.trace import ANSWERS
from cli.show.untested import sentence
from coordinator.api.responses.estate import Finding
from coordinator.api.responses.proof import Happened
from coordinator.api.responses.report import DeclaredWaiver, Period, ProbingPlan, Report, ReportedFinding
from coordinator.api.responses.runs import Unproven

MOST_ADDRESSES, MOST_PLACES, PORTS_WIDTH, MOST_EVENTS = 32, 6, 300, 500  # JSON has all of them
_WORDS = {"pass": "PASS", "fail": "FAIL", "inconclusive": "UNPROVEN"}
_SEVERITIES = ("critical", "high", "medium", "low")
GREEN = (
    "Silence is not evidence. A denied path is green only where something shows that the packet would have been seen had it "
    "crossed: a witness at the destination that listened for exactly this packet (no packet), or controls: the endpoint "
    "answers from inside, and the source's packets do get out (no session). All else is unproven."
)


@dataclass(frozen=True, slots=True)
class Why:
    """Cells that one reason leaves unproven. `places` are the first of them, `more` how many places are not named."""

    result: str
    required: bool
    means: str
    settle: str
    cells: int
    places: tuple[str, ...]
    more: int


def holds(body: Report) -> str:
    """What every green cell holds over, at least, and what it could have missed; "" where there is none."""
    return "" if body.limits is None else f"Each green cell holds at least {limits(body.limits)}."


def stamp(text: str | None) -> str:
    """`2026-11-23 12:04:07`, in UTC: a report is read on another day."""
    at = parse_time(text)
    return at.strftime("%Y-%m-%d %H:%M:%S") if at else "never"


def verdict(body: Report) -> tuple[str, str]:
    """`FAIL`, and what it comes to in one sentence."""
    failing = live([entry.finding for entry in body.findings])
    said = [plural(len(failing), "finding") if failing else "no finding stands"]
    if body.suspected:
        said.append(f"{plural(body.suspected, 'suspicion')} not confirmed yet")
    if body.untested:
        said.append(f"{plural(len(body.untested), 'pair')} without a single cell")
    said.append(counted(body.coverage, len(body.environments)))
    return _WORDS.get(body.result, "UNPROVEN"), " · ".join(said)


def tally(findings: Sequence[ReportedFinding]) -> str:
    """`5 stand: 2 critical, 3 high; 1 waived; 1 resolved recently`."""
    found = [entry.finding for entry in findings]
    failing = live(found)
    by = Counter(finding.severity for finding in failing)
    parts = ["No finding stands"]
    if failing:
        stand = "1 finding stands" if len(failing) == 1 else f"{len(failing):,} findings stand"
        parts = [f"{stand}: " + ", ".join(f"{by[name]} {name}" for name in _SEVERITIES if by[name])]
    for words, count in (
        ("acknowledged", sum(finding.status == "acknowledged" for finding in failing)),
        ("waived", sum(finding.result == "waived" for finding in found)),
        ("resolved", sum(finding.status == "resolved" for finding in found)),
    ):
        parts += [f"{count} {words}"] * bool(count)
    return "; ".join(parts)


def happened(period: Period) -> str:
    """`From … to … UTC: 3 opened, 1 resolved.`, and what a reader must not take from it."""
    counts = Counter(event.what for event in period.events)
    said = ", ".join(f"{count:,} {what}" for what, count in counts.most_common()) or "nothing happened to any finding"
    lines = [f"From {stamp(period.since)} to {stamp(period.until)} UTC: {said}."]
    if period.known_since:
        lines.append(f"Of what was before {stamp(period.known_since)} UTC nothing is kept.")
    lines.append(
        "Figures and evidence elsewhere in this report are of the moment it was made: older ones are not kept."
    )
    if len(period.events) > MOST_EVENTS:
        lines.append(f"The newest {MOST_EVENTS:,}; -o json has all {len(period.events):,}:")
    return " ".join(lines)


def place(finding: Finding) -> str:
    """Both ends with all that is known of them: `dev-1 → prod.model-registry 10.30.0.21 tcp/5000`."""
    addresses = finding.destination.addresses
    shown = ", ".join(addresses[:MOST_ADDRESSES])
    if len(addresses) > MOST_ADDRESSES:
        shown += f", … ({len(addresses) - MOST_ADDRESSES} more)"
    service = finding.destination.service
    to = finding.destination.environment + (f" {service}" if service else "")
    return f"{finding.source.agent} → {to} {shown} {_ports(finding)}"


def _ports(finding: Finding) -> str:
    return short_ports(finding.ports, finding.protocol, PORTS_WIDTH)


def short(finding: Finding) -> str:
    """`dev → prod.model-registry tcp/5000`."""
    return f"{where(finding)} {short_ports(finding.ports, finding.protocol)}"


def story(body: Report, entry: ReportedFinding) -> list[tuple[str, str]]:
    """A finding as (label, text): why it matters, what was declared, sent, seen and controlled, its life, what next."""
    finding, declared = entry.finding, entry.declared
    waiver = next((one for one in body.waivers if one.id == entry.waiver), None)
    near = declared.nearest
    lines = [
        ("why", harm(finding)),
        ("declared", declared.text + (f" ({declared.at})" if declared.at else "")),
        ("nearest", f"line {near.line} '{near.path}', from {near.source} to {near.destination}" if near else ""),
        *_evidence(entry),
        ("life", _life(entry)),
        ("history", " · ".join(_event(event) for event in entry.history)),
        ("waiver", _waiver(waiver) if waiver else entry.waiver or ""),
        ("next", "; ".join(entry.settle)),
    ]
    return [(label, text) for label, text in lines if text]


def _evidence(entry: ReportedFinding) -> list[tuple[str, str]]:
    cell, e, about, row = entry.cell, entry.evidence, entry.round, entry.row
    if cell is None or e is None or about is None or row is None:
        return []
    answer = ANSWERS.get(e.reason)
    said = e.reason if e.state == "error" else "silence"
    if answer is not None and e.state != "error":
        said = f"{answer} from {e.refused_by or target(cell)}"
    loss = f", loss at most {e.loss * 100:.2g}%" if e.loss is not None else ""
    at = f"{stamp(about.observed_at)} UTC, {about.schedule}, round {about.id}"
    return [
        ("observed", f"{at}{loss}"),
        ("sent", f"{cell.agent} {cell.source_address} → {target(cell)} {cell.protocol}: {sent(e)}"),
        ("answer", ", ".join(filter(None, [said, heard(e)]))),
        ("witness", witness(entry.witness, cell, e)),
        ("control", controls(e)),
        ("so", f"{row.text}: {cell.reachability} (row {row.number} of the table)"),
    ]


def _life(entry: ReportedFinding) -> str:
    finding, taken = entry.finding, entry.acknowledged
    times = f"first seen {stamp(finding.first_seen)}, last {stamp(finding.last_seen)} UTC"
    by = f", acknowledged by {taken.by}: {taken.reason}" if taken else ""
    return f"{standing_counted(finding)}, {times}, {plural(finding.cells, 'cell')}{by}"


def _waiver(waiver: DeclaredWaiver) -> str:
    said = [waiver.id, f"until {stamp(waiver.expires)} UTC", waiver.owner, waiver.justification]
    return ", ".join(filter(None, said))


def _event(event: Happened) -> str:
    more = ": ".join(filter(None, [event.by, event.text]))
    return f"{stamp(event.at)} {event.what}" + (f" ({more})" if more else "")


def title(finding: Finding) -> str:
    """The finding as a sentence."""
    return headline(finding)


def status(finding: Finding) -> str:
    """Its status, and whether it comes and goes."""
    return standing(finding)


def why_unproven(entries: Iterable[Unproven]) -> list[Why]:
    """One entry per reason: what must be proven first, then the most cells."""
    groups: dict[tuple[str, bool, str, str], list[Unproven]] = {}
    for entry in entries:
        alike = (entry.result, entry.required, entry.means, entry.settle)
        groups.setdefault(alike, []).append(entry)
    found = [
        Why(
            *alike,
            cells=sum(entry.cells for entry in group),
            places=tuple(_place(entry) for entry in group[:MOST_PLACES]),
            more=max(0, len(group) - MOST_PLACES),
        )
        for alike, group in groups.items()
    ]
    return sorted(found, key=lambda one: (not one.required, -one.cells))


def _place(entry: Unproven) -> str:
    ports = short_ports(entry.ports, entry.protocol, 40)
    return f"{entry.source} → {entry.destination} {entry.address} {ports}"


def lost(body: Report) -> list[str]:
    """Reports that never came: what they would have shown is not in any figure."""
    return [lost_line(entry.agent, entry, stamp) for entry in body.coverage.lost]


def not_tested(body: Report) -> list[str]:
    """Protocols that are in no figure."""
    return list(filter(None, [sentence(body.coverage)]))


def schedule(probing: ProbingPlan) -> list[str]:
    """What is probed when, in words."""
    lines = [
        f"a cycle every {_span(probing.every_s)}: the ports of every service, the catalogue's ports, ICMP, controls"
    ]
    sweep = probing.sweep
    if sweep.ports and sweep.every_s:
        lines.append(f"a sweep of {sweep.ports} every {_span(sweep.every_s)}")
    elif sweep.ports:
        lines.append(f"a sweep of {sweep.ports} when asked for; none is scheduled")
    else:
        lines.append("no sweep: ports that are neither a service's nor the catalogue's were not tested")
    lines.append(f"at most {probing.rate_pps:,} packets a second from each agent")
    lines.append(f"what stays silent is tried over {_span(probing.spread_s)} at least: a shorter outage hides nothing")
    lines += [
        f"blackout, nothing is probed: {one.cron} for {_span(one.for_s)}, {one.timezone}" for one in probing.blackout
    ]
    return lines


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
