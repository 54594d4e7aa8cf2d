"""`segwatch verify`: one cycle now through the agents, judged alone, and an exit code. The staging test."""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click
from click.core import ParameterSource

from cli import baseline as known
from cli import options
from cli.client import POLL_S, Client
from cli.errors import Problem
from cli.following import SOCKET_WAIT_S, Progress, follow
from cli.formats import table as formats
from cli.formats.terminal import report
from cli.holding import SEVERITIES, hold
from cli.journal import STDOUT, as_errors
from cli.loading import load, load_text
from cli.options import Endpoint
from cli.show.render import paint, plural, show
from coordinator.api.responses.runs import Asked, FinishedRun
from coordinator.api.responses.status import Status, TopologyInForce
from coordinator.topology.scalars import parse_duration, parse_instant
from reachability.baseline import Baseline

PASS, FAIL, UNPROVEN = 0, 1, 3
WHAT_IF_S = 120.0  # a large estate is compared, and a large file read
RELOAD_WAIT_S = 10.0  # a file that was changed just now is picked up within seconds


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
    "--severity",
    type=click.Choice(SEVERITIES),
    help="Fail only on findings from this severity on; what is below it is shown.",
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
@click.option(
    "--what-if",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Send nothing: judge what was observed last by this topology, which is not in force.",
)
@click.option(
    "--in-blackout", is_flag=True, help="Probe although a blackout is open, with --reason, which is recorded."
)
@click.option(
    "--reason",
    default="",
    metavar="TEXT",
    help="With --write-baseline: why it is left as it is. With --in-blackout: why.",
)
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
    severity: str | None,
    baseline: Path | None,
    write_baseline: Path | None,
    owner: str | None,
    until: str,
    what_if: Path | None,
    in_blackout: bool,
    reason: str,
    topology: Path | None,
) -> int:
    """Run one cycle now and judge it alone.

    Exit code 0: all pass. 1: a path fails that --baseline does not know and --severity does not let be. 2: usage or
    configuration. 3: nothing fails, but something that must be proven is inconclusive or was not run.

    -f FILE names the declared topology as your checkout has it: reports point into it, and it must be the one that the
    coordinator has in force. --what-if FILE judges what was observed last by another one, and sends, stores and changes
    nothing: what it asks for and nobody has observed is not run, never green.
    """
    if what_if is not None:
        _check_what_if()
    if in_blackout and not reason:
        raise Problem("--in-blackout needs --reason TEXT: it is recorded who probed in a blackout, and why")
    formats.check(to_write)
    held = _baseline(baseline, write_baseline, owner)
    end = _end(until) if write_baseline is not None else None
    declared = load(topology).digest if topology is not None else None  # before anything is waited for
    supposed = load_text(what_if) if what_if is not None else ""
    client = Client(endpoint)
    progress = Progress(options.look().quiet)
    client.wait(min(SOCKET_WAIT_S, timeout or SOCKET_WAIT_S), progress.say)
    in_force = _in_force(client, topology, declared)
    if held is not None and what_if is None:
        known.check_environments(held, in_force)

    def ask() -> str:
        asked = {"sweep": sweep, "from": source, "to": destination, "max_age_s": max_age}
        if in_blackout:
            asked |= {"in_blackout": reason, "by": getpass.getuser()}
        return client.post("verify", Asked, **asked).run

    if what_if is None:
        body = follow(client, ask, progress, timeout_s=timeout, with_cells=cells)
    else:
        progress.say(f"verify: what was observed last, by {what_if}")
        asked = {"sweep": sweep, "from": source, "to": destination, "cells": cells}
        client = Client(endpoint, WHAT_IF_S)
        body = client.post("what-if", FinishedRun, topology=supposed, file=str(what_if), **asked)
    progress.clear()
    if held is not None and end is not None and owner is not None:
        expires = end if isinstance(end, datetime) else known.finished(body) + end
        held = known.write(held, body, owner=owner, expires=expires, reason=reason)
        click.echo(f"{held.file}: {plural(len(held.entries), 'entry', 'entries')} written", err=True)
    if held is not None or severity is not None:
        body = hold(body, held, severity)
    code = exit_code(body.result.result, allow_inconclusive)
    uri = formats.uri_of(what_if or topology, in_force.file)
    if output == "table":
        lines = [*report(body, paint()), f"exit {code}"]
        show(lines if code == PASS else as_errors(lines, STDOUT))
    else:
        click.echo(formats.FORMATS[output](body, uri), nl=False)
    formats.write(to_write, body, uri)
    return code


def _check_what_if() -> None:
    """A usage error for options that are for a run that probes."""
    given = click.get_current_context().get_parameter_source
    for name in ("topology", "max_age", "timeout", "in_blackout", "write_baseline"):
        if given(name) is not ParameterSource.DEFAULT:
            flag = name.replace("_", "-") if name != "topology" else "topology (-f)"
            raise click.UsageError(f"--what-if probes nothing and has a topology of its own: --{flag} is not for it")


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


def _in_force(client: Client, topology: Path | None, digest: str | None) -> TopologyInForce:
    """The coordinator's topology; Problem when it is not the given one, which has this digest."""
    until = time.monotonic() + RELOAD_WAIT_S
    while True:
        held = client.get("status", Status).topology
        if digest in {None, held.digest}:
            return held
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
