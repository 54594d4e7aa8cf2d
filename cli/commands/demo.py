"""`segwatch demo`: the whole system at work on a sealed estate. Every line is read from the running system."""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import click
import msgspec

from cli import options
from cli.commands.findings import block
from cli.errors import Problem
from cli.show.grid import grid, legend, live
from cli.show.render import NO_PACKET, NO_SESSION, Paint, labelled, paint, plural, show, visible
from coordinator.api.responses.estate import Cell, Coverage, Finding, Matrix
from coordinator.api.responses.proof import Explanation
from coordinator.api.responses.runs import Verified
from coordinator.api.responses.status import Status
from lab.demo import PORT, SOURCE, TARGET, Demo, hosts
from lab.sealed import LabError
from wire.messages import VERSION

T = TypeVar("T")
WIDTH = 100


@click.command("demo", epilog="Example: segwatch demo --keep")
@click.option("--keep", is_flag=True, help="Leave it running at the end, and say how to look at it.")
@options.common
def command(keep: bool) -> int:
    """See it work: an ML platform in network namespaces, a planted leak, the finding, and what a green cell means.

    Takes about a minute. It needs no root, and nothing leaves this machine.
    """
    # Its processes import it: what is not installed is said before anything is built.
    importlib.import_module("coordinator.service")
    # SIGTERM is to tear the lab down as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Story(paint(), quiet=options.look().quiet).tell(keep=keep)
    except LabError as error:
        raise Problem(str(error)) from error
    except KeyboardInterrupt:
        click.echo("\nThe lab is torn down.", err=True)
        return 130
    return 0


class Story:
    """Tells the demo while it happens."""

    def __init__(self, style: Paint, *, quiet: bool = False) -> None:
        self._style = style
        self._quiet = quiet
        self._began = time.monotonic()

    def tell(self, *, keep: bool) -> None:
        """From the estate to the resolved finding."""
        style = self._style
        show(
            [f"segwatch {VERSION} · demo: a sealed ML platform in network namespaces (nothing leaves this machine)", ""]
        )
        with contextlib.ExitStack() as stack:
            demo = stack.enter_context(self._estate())
            self._system(demo)
            first = self._cycle(demo)
            matrix, coverage = read(demo, Matrix, "matrix"), read(demo, Coverage, "coverage")
            findings = read(demo, tuple[Finding, ...], "findings")
            show(["", *(f"  {line}" for line in grid(matrix, coverage, findings, style)), "", f"  {legend(style)}", ""])
            leaks = live(findings)
            for finding in leaks:
                show([*block(finding, style), *self._why(demo, finding), ""])
            if not leaks:
                show([f"{style('■', 'good')} no finding: nothing reaches what it should not", ""])
            show(["The same closed port, three times, to show what a green cell means here:"])
            show([self.line("firewall drops", cell_of(first), demo)])
            show([self.line("target stopped", self._with(demo, "target"), demo)])
            show([self.line("dev-1 cut off", self._with(demo, "source"), demo)])
            show(["", self._close(demo, leaks)])
            if keep:
                self._keep(demo)

    # -- the steps ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _estate(self) -> Iterator[Demo]:
        began = time.monotonic()
        self._doing("building the estate")
        with Demo() as demo:
            demo.serve()
            declared = json.loads(demo.system.cli("topology", "check", "topology.yaml", "-o", "json").check().stdout)
            counts = f"{declared['environments']} environments, {hosts()} hosts, {declared['services']} services"
            text = f"{counts}, nftables between them"
            self._step("estate", text, began)
            yield demo

    def _system(self, demo: Demo) -> None:
        began = time.monotonic()
        self._doing("starting coordinator and agents")
        system = demo.system
        system.deploy()
        system.wait_for(lambda: len(system.connected()) == len(system.agents), "the agents to connect")
        status = msgspec.convert(system.api("status"), Status)
        broker = "broker up" if status.broker.connected else "broker not yet up"
        connected = sum(agent.state == "connected" for agent in status.agents)
        self._step("system", f"{broker}, coordinator up, {plural(connected, 'agent')} connected", began)

    def _cycle(self, demo: Demo) -> Any:
        began = time.monotonic()
        self._doing("the first cycle: every agent tries every host of the other environments")
        _, body = demo.system.verify("--cells")
        coverage = read(demo, Coverage, "coverage")
        failing = live(msgspec.convert(body, Verified).findings)
        unproven = coverage.inconclusive + coverage.stale + coverage.not_run
        proven = f"{coverage.proven:,} of {coverage.required:,} proven"
        paths = plural(len(failing), "unexpected path")
        text = f"{plural(coverage.cells, 'cell')} · {proven} · {paths} · {unproven:,} inconclusive"
        self._step("cycle 1", text, began)
        return body

    def _why(self, demo: Demo, finding: Finding) -> list[str]:
        told = read(demo, Explanation, "explain", finding.id)
        lines = []
        declared = told.declared
        text = declared.text
        if near := declared.nearest:
            text += f"; nearest: line {near.line} '{near.path}' (from {near.source} to {near.destination})"
        lines += ["    " + line for line in labelled("declared", text, self._style.width - 4, 9)]
        evidence, row, about = told.evidence, told.row, told.round
        if evidence and row and about:
            seen = (
                f"{evidence.reason} after {evidence.rtt_ms:.3f} ms" if evidence.rtt_ms is not None else evidence.reason
            )
            same = f", the same that {evidence.inside_by} gets from inside" if evidence.inside_same else ""
            note = f', then "{evidence.note}"{same}' if evidence.note else ""
            text = f"{seen}{note} (table row {row.number}, round {about.id})"
            lines += ["    " + line for line in labelled("evidence", text, self._style.width - 4, 9)]
        for index, settle in enumerate(told.settle):
            lines += ["    " + line for line in labelled("fix" if index == 0 else "", settle, self._style.width - 4, 9)]
        return lines

    def _with(self, demo: Demo, fault: str) -> Cell:
        """The cell while its target is dead, or its source cut off; then all is as before again."""
        self._doing(f"the same port while the {fault} is {'dead' if fault == 'target' else 'cut off'}")
        make, undo = (demo.stop_target, demo.start_target) if fault == "target" else (demo.cut_off, demo.let_out)
        make()
        _, body = demo.system.verify("--cells", "--from", "dev", "--to", "prod")
        undo()
        return cell_of(body)

    def _close(self, demo: Demo, leaks: Sequence[Finding]) -> str:
        if not leaks:
            return f"Took {time.monotonic() - self._began:.0f} s."
        self._doing("closing the hole in the firewall")
        name = leaks[0].id
        demo.close_leak()
        closed = time.monotonic()
        demo.system.verify("--from", "dev", "--to", "prod")
        found = next((finding for finding in read(demo, tuple[Finding, ...], "findings") if finding.id == name), None)
        status = found.status if found else "gone"
        took = f"Took {time.monotonic() - self._began:.0f} s."
        return (
            f"Closing the hole in the firewall … {name} {status} {time.monotonic() - closed:.1f} s later.      {took}"
        )

    def line(self, what: str, cell: Cell, demo: Demo) -> str:
        """One of the three lines: what was done, and what the system says of the cell."""
        style = self._style
        told = read(
            demo,
            Explanation,
            "explain",
            "--from",
            cell.agent,
            "--to",
            cell.address,
            "--port",
            f"{cell.protocol}/{PORT}",
        )
        glyph, tone = ("?", "warn")
        if cell.result == "pass":
            glyph, tone = (NO_PACKET if cell.reachability == "blocked" else NO_SESSION), "good"
        elif cell.result == "fail":
            glyph, tone = "✗", "bad"
        word = cell.reachability if cell.result != "inconclusive" else cell.result
        evidence = told.evidence
        if cell.result == "pass" and evidence is not None:
            why = (
                f"{TARGET} listened for {plural(evidence.sent, 'copy', 'copies')} of the packet and saw "
                f"{evidence.arrived or 'none'}; {SOURCE}'s others got out ({evidence.control_by})"
            )
        else:
            why = told.means or (told.row.text if told.row else cell.reason or "")
        head = f"  {what:<18} {style(glyph, tone)} {word or cell.result:<13} "
        wrapped = labelled("", why, WIDTH, visible(head))
        return "\n".join([head + wrapped[0][visible(head) :], *wrapped[1:]])

    def _keep(self, demo: Demo) -> None:
        state = demo.estate.directory / "state"
        show(
            [
                "",
                f"It goes on running. In a browser: {demo.show_page()}",
                "In another terminal:",
                f"  segwatch dashboard --state-dir {state}",
                f"  segwatch matrix    --state-dir {state}",
                f"  segwatch verify    --state-dir {state}",
                f"  segwatch explain   --state-dir {state} --from {SOURCE} --to 10.30.0.21 --port tcp/5000",
                "Ctrl-C here ends it and takes everything away.",
            ]
        )
        sys.stdout.flush()
        signal.pause()

    # -- how it speaks --------------------------------------------------------------------------------------------

    def _doing(self, text: str) -> None:
        if not self._quiet and sys.stderr.isatty():
            click.echo(f"\r\x1b[K  {text} …", nl=False, err=True)

    def _done(self) -> None:
        if not self._quiet and sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)

    def _step(self, name: str, text: str, began: float) -> None:
        self._done()
        took = f"{time.monotonic() - began:.1f} s"
        show([f"  {name:<10} {text:<{WIDTH - 14 - len(took)}} {took}"])


def read(demo: Demo, kind: type[T], *arguments: str) -> T:
    """The JSON that a reading command prints."""
    return msgspec.convert(demo.system.ask(*arguments), kind)


def cell_of(body: Any) -> Cell:
    """The cell of the three lines, from a verify's cells."""
    for cell in msgspec.convert(body, Verified).cells or ():
        if cell.agent == SOURCE and cell.address == "10.30.0.10" and cell.protocol == "tcp":
            spans = [part.partition("-") for part in (cell.ports or "").split(",")]
            if any(int(low) <= PORT <= int(high or low) for low, _, high in spans):
                return cell
    raise LabError(f"the run has no cell from {SOURCE} to 10.30.0.10 tcp/{PORT}")
