"""`segwatch verify`: one cycle now through the agents, judged alone, and an exit code. The staging test."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click
import msgspec

from cli import baseline as known
from cli import options
from cli.client import POLL_S, Client
from cli.errors import Problem
from cli.following import SOCKET_WAIT_S, Progress, follow
from cli.formats import table as formats
from cli.journal import STDOUT, as_errors
from cli.loading import load
from cli.options import Endpoint
from cli.show.grid import live, sentence, where
from cli.show.losses import lost_line
from cli.show.render import Paint, clean, labelled, paint, plural, short_ports, show, table, visible
from cli.show.roster import notes
from cli.show.summary import headwords
from coordinator.api.responses.estate import Finding
from coordinator.api.responses.runs import Asked, FinishedRun, Unproven, Verified
from coordinator.api.responses.status import Agent, Status
from coordinator.topology.scalars import parse_duration, parse_instant
from reachability.baseline import Baseline

PASS, FAIL, UNPROVEN = 0, 1, 3
RELOAD_WAIT_S = 10.0  # a file that was changed just now is picked up within seconds
_UNPROVEN_LINES = 12
_TONES = {"PASS": "good", "FAIL": "bad"}


@click.command(
    "verify",
    epilog="Example: segwatch verify --state-dir /var/lib/segwatch --baseline known.yaml --report junit=segwatch.xml",
)
@options.output("table", *formats.FORMATS)
@click.option(
    "--report",
    "to_write",
    type=formats.report,
    multiple=True,
    metavar="FORMAT=FILE",
    help=f"Write this run to a file, too: {', '.join(formats.FORMATS)}; may be repeated.",
)
@click.option("--cells", is_flag=True, help="With json: this run's cells too, as `matrix --cells` has them.")
@click.option("--sweep", is_flag=True, help="A sweep too: all of probing.sweep.ports, not the cycle's ports alone.")
@click.option("--from", "source", metavar="ENV", help="Only from this environment.")
@click.option("--to", "destination", metavar="ENV", help="Only to this environment.")
@click.option("--allow-inconclusive", is_flag=True, help="Exit 0, not 3, where nothing fails but not all is proven.")
@click.option(
    "--max-age",
    type=options.duration,
    metavar="TIME",
    help="Do not probe again what was proven within this time, such as 10m.",
)
@click.option(
    "--timeout",
    type=options.duration,
    metavar="TIME",
    help="End the run after that long; what it has not tried is not run.",
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Fail only on what is not known in this file, or has ended there.",
)
@click.option(
    "--write-baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Put what fails now into this baseline, with --owner and --until.",
)
@click.option("--owner", metavar="NAME", help="With --write-baseline: who answers for what fails.")
@click.option(
    "--until",
    default="30d",
    show_default=True,
    metavar="TIME",
    help="With --write-baseline: when its entries end; this long from now, or 2027-01-31T00:00:00Z.",
)
@click.option("--reason", default="", metavar="TEXT", help="With --write-baseline: why it is left as it is.")
@options.topology(required=False)
@options.coordinator
@options.common
def command(
    *,
    endpoint: Endpoint,
    output: str,
    to_write: Sequence[formats.Report],
    cells: bool,
    sweep: bool,
    source: str | None,
    destination: str | None,
    allow_inconclusive: bool,
    max_age: float | None,
    timeout: float | None,
    baseline: Path | None,
    write_baseline: Path | None,
    owner: str | None,
    until: str,
    reason: str,
    topology: Path | None,
) -> int:
    """Run one cycle now and judge it alone.

    Exit code 0: all pass. 1: a path fails. 2: usage or configuration. 3: nothing fails, but something that must be
    proven is inconclusive or was not run.

    -f FILE names the declared topology as your checkout has it: reports point into it, and it must be the one that the
    coordinator has in force.
    """
    formats.check(to_write)
    held = _baseline(baseline, write_baseline, owner)
    end = _end(until) if write_baseline is not None else None
    client = Client(endpoint)
    progress = Progress(options.look().quiet)
    client.wait(min(SOCKET_WAIT_S, timeout or SOCKET_WAIT_S), progress.say)
    in_force = _in_force(client, topology)

    def ask() -> str:
        asked = {"sweep": sweep, "from": source, "to": destination, "max_age_s": max_age}
        return client.post("verify", Asked, **asked).run

    body = follow(client, ask, progress, timeout_s=timeout, with_cells=cells)
    progress.clear()
    if held is not None and end is not None and owner is not None:
        expires = end if isinstance(end, datetime) else known.finished(body) + end
        held = known.write(held, body, owner=owner, expires=expires, reason=reason)
        click.echo(f"{held.file}: {plural(len(held.entries), 'entry', 'entries')} written", err=True)
    if held is not None:
        body = known.hold(body, held)
    code = exit_code(body.result.result, allow_inconclusive)
    uri = formats.uri_of(topology, in_force)
    if output == "table":
        lines = [*report(body, paint()), f"exit {code}"]
        show(lines if code == PASS else as_errors(lines, STDOUT))
    else:
        click.echo(formats.FORMATS[output](body, uri), nl=False)
    formats.write(to_write, body, uri)
    return code


def _baseline(read: Path | None, write: Path | None, owner: str | None) -> Baseline | None:
    """The baseline to compare the run with; of one that is to be written, what is in its file so far."""
    if read is not None and write is not None:
        raise click.UsageError("--baseline compares the run with a file, --write-baseline writes it; give one of them")
    if write is None:
        if owner is not None:
            raise click.UsageError("--owner is for --write-baseline")
        return None if read is None else known.load(read)
    if not owner or not owner.strip():
        raise click.UsageError("--write-baseline needs --owner NAME: who answers for what fails")
    formats.check([("baseline", write)])
    return known.load(write, missing_ok=True)


def _end(until: str) -> datetime | timedelta:
    """When new entries end: a time, or this long from the run's end."""
    try:
        return timedelta(seconds=parse_duration(until)) if until[-1:] in "smhd" else parse_instant(until)
    except ValueError as error:
        raise click.UsageError(f"--until: {error}") from error


def _in_force(client: Client, topology: Path | None) -> str:
    """What the coordinator calls its topology; Problem when it is not the given one."""
    digest = load(topology).digest if topology is not None else None
    until = time.monotonic() + RELOAD_WAIT_S
    while True:
        held = client.get("status", Status).topology
        if digest in {None, held.digest}:
            return held.file
        if time.monotonic() >= until:
            raise Problem(
                f"the coordinator has a topology in force that is not {topology}: its {held.file} "
                f"is {held.digest[:12]}…, yours {str(digest)[:12]}…",
                "Give it this one first: it reloads a file that changes. Without -f, what it has in force is verified.",
            )
        time.sleep(POLL_S)


def exit_code(result: str, allow_inconclusive: bool) -> int:
    """The exit code of a verify's result."""
    if result == "fail":
        return FAIL
    return PASS if result == "pass" or allow_inconclusive else UNPROVEN


def report(run: FinishedRun, style: Paint) -> list[str]:
    """What a run comes to: one sentence, then a line for each thing to look at and how to go on."""
    result, coverage = run.result, run.coverage
    failing = live(result.findings)
    word, said = headwords(run)
    lines = sentence(style, word, _TONES.get(word, "warn"), said)
    if run.stopped:
        why = f"all probing was stopped meanwhile: {clean(run.stopped)}"
        lines.append(f"{style('!', 'warn')} {why}. To go on: segwatch stop --resume")
    lines += _missing_agents(result.agents, style)
    lines += _lost_meanwhile(result, style)
    lines += [
        f"{style('?', 'warn')} {pair.source} → {pair.destination}: nothing can be tested: none of its hosts has an address "
        "of a family that the agents have"
        for pair in result.untested
    ]
    lines += table([_finding_row(finding, style) for finding in failing])
    lines += known.lines(result, style)
    required = [entry for entry in run.unproven if entry.required]
    lines += unproven_lines(required[:_UNPROVEN_LINES], style)
    if len(required) > _UNPROVEN_LINES:
        lines.append(f"? and {len(required) - _UNPROVEN_LINES} more: segwatch verify -o json --cells")
    if result.summary.waived:
        lines.append(
            f"{style('~', 'warn')} {plural(result.summary.waived, 'cell')} waived, each until its waiver expires"
        )
    if coverage.beyond_proof:
        text = f"{plural(coverage.beyond_proof, 'UDP cell')} beyond proof: silent, on hosts without an agent"
        lines.append(style(f"  {text} (no exit code)", "dim"))
    return lines


def _missing_agents(agents: Sequence[Agent], style: Paint) -> list[str]:
    return [
        f"{style('!', 'warn')} agent {agent.name} ({agent.environment}) "
        + ("is not connected" if agent.state == "lost" else "never connected")
        + ": what only it can show is unproven"
        for agent in agents
        if agent.state != "connected"
    ] + [
        f"{style('!', 'warn')} agent {agent.name} ({agent.environment}) {note}"
        for agent in agents
        for note in notes(msgspec.structs.replace(agent, lacks=None))  # what it lacks shows in the cells
    ]


def _lost_meanwhile(result: Verified, style: Paint) -> list[str]:
    """What was lost during this run; what was lost before is in the JSON, and in `segwatch coverage`."""
    lost = [(agent.name, agent.lost) for agent in result.agents]
    return [
        f"{style('!', 'warn')} agent {lost_line(name, entry)}"
        for name, entry in lost
        if entry.until and entry.until >= (result.started or "")
    ]


def _finding_row(finding: Finding, style: Paint) -> list[str]:
    said = f"{finding.reachability} ({finding.proof})"
    what = f"{where(finding)} {short_ports(finding.ports, finding.protocol)}"
    return [f"{style('✗', 'bad')} {what}", said, style(finding.id, "bold"), f"segwatch explain {finding.id}"]


def unproven_lines(entries: Sequence[Unproven], style: Paint) -> list[str]:
    """What is not proven, why, and what would settle it: on the same line where that fits, else under it."""
    lines = table([_unproven_row(entry, style) for entry in entries])
    result = []
    for line, entry in zip(lines, entries, strict=True):
        fits = visible(line) + 2 + len(entry.settle) <= style.width
        result += [f"{line}  {entry.settle}"] if fits else [line, *labelled("", entry.settle, style.width, 4)]
    return result


def _unproven_row(entry: Unproven, style: Paint) -> list[str]:
    what = f"{entry.source} → {entry.destination} {entry.address} "
    said = f"unknown: {entry.reason}" if entry.reason else entry.result
    ports = short_ports(entry.ports, entry.protocol, 20)
    return [f"{style('?', 'warn')} {what}{ports}", said]
