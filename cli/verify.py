"""`segwatch verify`: one cycle now through the agents, judged alone, and an exit code. The staging test."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from cli import options
from cli.client import POLL_S, Client, GoneError, UnreachableError
from cli.errors import Problem
from cli.grid import counted, live, sentence, where
from cli.junit import junit
from cli.options import Endpoint
from cli.render import Paint, labelled, paint, parse_time, plural, short_ports, show, table, visible

Body = Mapping[str, Any]
SOCKET_WAIT_S = 30.0
PASS, FAIL, UNPROVEN = 0, 1, 3
_UNPROVEN_LINES = 12
BAR, PACE_S = 10, 3.0


@click.command(
    "verify",
    epilog="Example: segwatch verify --state-dir /var/lib/segwatch -o junit > segwatch.xml",
)
@options.output("table", "json", "junit")
@click.option("--cells", is_flag=True, help="With -o json: this run's cells too, as `matrix --cells` has them.")
@click.option("--sweep", is_flag=True, help="A sweep too: all of probing.sweep.ports, not the cycle's ports alone.")
@click.option("--from", "source", metavar="ENV", help="Only from this environment.")
@click.option("--to", "destination", metavar="ENV", help="Only to this environment.")
@click.option("--allow-inconclusive", is_flag=True, help="Exit 0, not 3, where nothing fails but not all is proven.")
@options.coordinator
@options.common
def command(
    *,
    endpoint: Endpoint,
    output: str,
    cells: bool,
    sweep: bool,
    source: str | None,
    destination: str | None,
    allow_inconclusive: bool,
) -> int:
    """Run one cycle now and judge it alone.

    Exit code 0: all pass. 1: a path fails. 2: usage or configuration. 3: nothing fails, but something that must be
    proven is inconclusive or was not run.
    """
    client = Client(endpoint)
    progress = Progress(options.look().quiet)
    client.wait(SOCKET_WAIT_S, progress.say)

    def ask() -> str:
        return str(client.post("verify", sweep=sweep, **{"from": source, "to": destination})["run"])

    body = _follow(client, ask, progress, with_cells=cells and output == "json")
    progress.clear()
    code = exit_code(body["result"]["result"], allow_inconclusive)
    match output:
        case "json":
            click.echo(json.dumps(body["result"], indent=2))
        case "junit":
            click.echo(junit(body), nl=False)
        case _:
            show([*report(body, paint()), f"exit {code}"])
    return code


def exit_code(result: str, allow_inconclusive: bool) -> int:
    """The exit code of a verify's result."""
    if result == "fail":
        return FAIL
    return PASS if result == "pass" or allow_inconclusive else UNPROVEN


class Progress:
    """One line on stderr that is written over on a terminal; elsewhere a line where something changed."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._last = ""
        self.terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Show what is being done."""
        if self._quiet or text == self._last:
            return
        self._last = text
        if self.terminal:
            click.echo(f"\r\x1b[K{text[:99]}", nl=False, err=True)
        else:
            click.echo(text, err=True)

    def clear(self) -> None:
        """Take the line away."""
        if self.terminal and self._last and not self._quiet:
            click.echo("\r\x1b[K", nl=False, err=True)


def _follow(client: Client, ask: Callable[[], str], progress: Progress, *, with_cells: bool) -> Any:
    """Ask for a run and wait for its end; a coordinator that was restarted meanwhile is asked again."""
    run = ask()
    pace = Pace(alive=progress.terminal)
    lost_at: float | None = None
    while True:
        try:
            body = client.get(f"runs/{run}")
        except UnreachableError:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > SOCKET_WAIT_S:
                raise
            progress.say("the coordinator is gone; waiting for it")
        except GoneError:
            progress.say("the coordinator was restarted; this run begins anew")
            run = ask()
        else:
            lost_at = None
            if body["state"] == "finished":
                return client.get(f"runs/{run}", cells=1) if with_cells else body
            if body.get("error"):
                raise Problem(str(body["error"]))
            progress.say(pace.doing(body))
        try:
            time.sleep(POLL_S)
        except KeyboardInterrupt:
            client.post(f"runs/{run}/end")
            progress.say("verify: interrupted; what it has not tried is not run")


class Pace:
    """What a run that has not finished is doing, how fast, and how long it will still take."""

    def __init__(self, *, alive: bool, now: Callable[[], float] = time.monotonic) -> None:
        """`alive`: the line is written over, so that it may change all the time."""
        self._alive, self._now = alive, now
        self._first: tuple[float, int] | None = None

    def doing(self, body: Body) -> str:
        """One line."""
        waiting = body.get("waiting_for") or []
        if waiting:
            return f"verify: waiting for {', '.join(waiting)}"
        progress = body.get("progress") or {}
        total, done = progress.get("cells", 0), progress.get("done", 0)
        if not total:
            return f"verify: {body['state']}"
        text = f"verify {bar(done / total)} {done / total:4.0%}  {done:,} of {total:,} cells"
        began, before = self._first = self._first or (self._now(), done)
        took = self._now() - began
        if not self._alive or took < PACE_S or done in {before, total}:
            return text
        rate = (done - before) / took
        return f"{text}, {rate:,.0f} a second, {(total - done) / rate:,.0f} s left"


def bar(share: float) -> str:
    """So much of ten places."""
    full = int(min(1.0, max(0.0, share)) * BAR)
    return "█" * full + "░" * (BAR - full)


def report(body: Body, style: Paint) -> list[str]:
    """What a run comes to: one sentence, then a line for each thing to look at and how to go on."""
    result, coverage = body["result"], body["coverage"]
    started, finished = parse_time(result["started"]), parse_time(result["finished"])
    took = f"{(finished - started).total_seconds():.1f} s" if started and finished else ""
    failing = live(result["findings"])
    word, tone = {"pass": ("PASS", "good"), "fail": ("FAIL", "bad")}.get(result["result"], ("UNPROVEN", "warn"))
    environments = {name for pair in coverage["pairs"] for name in (pair["source"], pair["destination"])}
    what = _counts(failing, result["summary"], coverage)
    lines = sentence(style, word, tone, " · ".join(filter(None, [what, counted(coverage, len(environments)), took])))
    lines += _missing_agents(body, style)
    lines += [
        f"{style('?', 'warn')} {pair['source']} → {pair['destination']}: nothing can be tested: no host of it has an address "
        "of a family that the agents have"
        for pair in result["untested"]
    ]
    lines += table([_finding_row(finding, style) for finding in failing])
    required = [entry for entry in body["unproven"] if entry["required"]]
    lines += unproven_lines(required[:_UNPROVEN_LINES], style)
    if len(required) > _UNPROVEN_LINES:
        lines.append(f"? and {len(required) - _UNPROVEN_LINES} more: segwatch verify -o json --cells")
    if result["summary"]["waived"]:
        lines.append(
            f"{style('~', 'warn')} {plural(result['summary']['waived'], 'cell')} waived, each until its waiver expires"
        )
    if coverage["beyond_proof"]:
        text = f"{plural(coverage['beyond_proof'], 'UDP cell')} beyond proof: silent, on hosts without an agent"
        lines.append(style(f"  {text} (no exit code)", "dim"))
    return lines


def _counts(failing: Sequence[Body], summary: Body, coverage: Body) -> str:
    kinds = [finding["kind"] for finding in failing]
    open_cells = coverage["inconclusive"] + coverage["stale"] + coverage["not_run"]
    parts = [
        plural(kinds.count("unexpected-path"), "unexpected path") if "unexpected-path" in kinds else "",
        plural(kinds.count("missing-path"), "missing path") if "missing-path" in kinds else "",
        plural(summary["fail"], "failing cell") if summary["fail"] and not kinds else "",
        f"{plural(coverage['inconclusive'], 'cell')} inconclusive" if coverage["inconclusive"] else "",
        f"{plural(coverage['not_run'], 'cell')} not run" if coverage["not_run"] else "",
    ]
    return ", ".join(filter(None, parts)) or ("all as declared" if not open_cells else "nothing fails")


def _missing_agents(body: Body, style: Paint) -> list[str]:
    agents = body["result"]["agents"]
    return [
        f"{style('!', 'warn')} agent {agent['name']} ({agent['environment']}) "
        + ("is not connected" if agent["state"] == "lost" else "never connected")
        + ": what only it can show is unproven"
        for agent in agents
        if agent["state"] != "connected"
    ]


def _finding_row(finding: Body, style: Paint) -> list[str]:
    said = f"{finding['reachability']} ({finding['proof']})"
    what = f"{where(finding)} {short_ports(finding['ports'], finding['protocol'])}"
    return [f"{style('✗', 'bad')} {what}", said, style(finding["id"], "bold"), f"segwatch explain {finding['id']}"]


def unproven_lines(entries: Sequence[Body], style: Paint) -> list[str]:
    """What is not proven, why, and what would settle it: on the same line where that fits, else under it."""
    lines = table([_unproven_row(entry, style) for entry in entries])
    result = []
    for line, entry in zip(lines, entries, strict=True):
        fits = visible(line) + 2 + len(entry["settle"]) <= style.width
        result += [f"{line}  {entry['settle']}"] if fits else [line, *labelled("", entry["settle"], style.width, 4)]
    return result


def _unproven_row(entry: Body, style: Paint) -> list[str]:
    what = f"{entry['source']} → {entry['destination']} {entry['address']} "
    said = f"unknown: {entry['reason']}" if entry["reason"] else entry["result"]
    ports = short_ports(entry["ports"], entry["protocol"], 20)
    return [f"{style('?', 'warn')} {what}{ports}", said]
