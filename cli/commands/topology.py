"""`segwatch topology`: checks a file, and says which of its lines decides a path."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click
import msgspec

from cli import options
from cli.client import Client
from cli.errors import USAGE
from cli.files import check_new, create
from cli.loading import load, read
from cli.looked_up import seen_by_agents
from cli.options import Endpoint
from cli.show.render import Paint, labelled, paint, plural, show
from cli.show.uncontrolled import lines_of, sentences
from coordinator.api.explain import NothingToExplainError, parse_port
from coordinator.api.responses.report import Drafted
from coordinator.topology.lint import Warned, lint
from coordinator.topology.lint_names import Seen, lint_names
from coordinator.topology.load import TopologyErrors
from reachability.plan import PlanTarget, build_plan
from reachability.policy import Decision, Policy, nearest_paths
from reachability.ports import PortSet
from reachability.sides import Sides
from reachability.texts import clean_lines
from reachability.topology import Topology, is_address
from reachability.uncontrolled import Uncontrolled, by_declaration
from reachability.vocabulary import Declared, Protocol


@click.group("topology", epilog="Example: segwatch topology check topology.yaml")
def command() -> None:
    """Check a topology file; explain which line decides a path."""


@command.command("check", epilog="Example: segwatch topology check topology.yaml")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@options.output("table", "json")
@options.coordinator
@options.common
def check(*, files: tuple[Path, ...], output: str, endpoint: Endpoint) -> int:
    """All errors of FILE at once, each with its place (exit code 2), and doubts about what it declares (exit code 0).

    FILE may be - for standard input. Of several files the json is a list, an entry for each. Where a coordinator is named,
    what its agents see DNS names at is held against FILE too.
    """
    names = seen_by_agents(endpoint)
    checked = [_checked(file, names) for file in files]
    if output == "json":
        bodies = [one.body for one in checked]
        click.echo(json.dumps(bodies if len(files) > 1 else bodies[0], indent=2))
    else:
        for one in checked:
            one.tell(paint())
    return USAGE if any(one.topology is None for one in checked) else 0


@dataclass(frozen=True, slots=True)
class _Checked:
    """A file, and what was found in it; no topology where it has errors."""

    file: Path
    topology: Topology | None
    errors: tuple[str, ...] = ()
    warnings: tuple[Warned, ...] = ()
    uncontrolled: tuple[Uncontrolled, ...] = ()

    @property
    def body(self) -> dict[str, Any]:
        """As JSON."""
        texts = [f"{self.file}:{w.line}:{w.column}: {w.message}" for w in self.warnings]
        counts = _counts(self.topology) if self.topology is not None else {}
        notes = {"notes": sentences(self.uncontrolled)} if self.topology is not None else {}
        return {"file": str(self.file), "errors": list(self.errors), "warnings": texts, **notes, **counts}

    def tell(self, style: Paint) -> None:
        """Errors go to stderr, all else to stdout."""
        if self.topology is None:
            click.echo("\n".join(self.errors), err=True)
            click.echo(f"{plural(len(self.errors), 'error')}.", err=True)
            return
        what = ", ".join(plural(count, name.rstrip("s")) for name, count in _counts(self.topology).items())
        show([f"{style('✓', 'good')} {self.file}: {what}"])
        lines: list[str] = []
        for warning in self.warnings:
            lines += labelled(style("!", "warn"), f"line {warning.line}: {warning.message}", style.width, 2)
        if lines:
            doubts = plural(len(self.warnings), "warning")
            show([*lines, f"{doubts}: nothing is wrong, but greens would stand on less than they could."])
        show(lines_of(self.uncontrolled, style.width))


def _checked(file: Path, names: Seen) -> _Checked:
    try:
        topology = read(file)
    except TopologyErrors as error:
        return _Checked(file, None, errors=tuple(error.errors))
    now = datetime.now(UTC)
    without = by_declaration(Sides(topology))
    doubts = sorted({*lint(topology, now), *lint_names(topology, names)})
    return _Checked(file, topology, warnings=tuple(doubts), uncontrolled=without)


def _counts(topology: Topology) -> dict[str, int]:
    environments = topology.environments.values()
    return {
        "environments": len(topology.environments),
        "agents": len(topology.agents()),
        "services": sum(len(environment.services) for environment in environments),
        "paths": len(topology.paths),
        "waivers": len(topology.waivers),
    }


@command.command("draft", epilog="Example: segwatch topology draft --state-dir /var/lib/segwatch --out draft.yaml")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="A new file to write it to."
)
@options.coordinator
@options.common
def draft(*, endpoint: Endpoint, out: Path | None) -> None:
    """A topology from what a running estate was observed to offer and to use, each entry marked for review.

    It goes to standard output, or to a new FILE: nothing is overwritten, and no topology comes into force.
    """
    if out is not None:
        check_new(out)
    body = msgspec.convert(Client(endpoint).get("draft", object), Drafted)  # the one answer that has lines
    if out is None:
        click.echo(clean_lines(body.topology), nl=False)
    else:
        create(out, clean_lines(body.topology).encode("utf-8", "replace"))
    if not options.look().quiet:
        text = (
            f"{plural(body.review, 'entry', 'entries')} to review. What it would change: segwatch verify --what-if FILE"
        )
        click.echo(text, err=True)


@command.command(
    "explain",
    epilog="Example: segwatch topology explain topology.yaml --from staging --to prod.model-registry --port tcp/5000",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--from", "source", required=True, metavar="A", help="An environment, environment.agent, agent or address."
)
@click.option(
    "--to", "destination", required=True, metavar="B", help="An environment, environment.service, or address."
)
@click.option("--port", required=True, metavar="PORT", help="Such as tcp/5000, udp/53 or icmp.")
@options.output("table", "json")
@options.common
def explain(file: Path, source: str, destination: str, port: str, output: str) -> int:
    """Which line of FILE decides a path; what no line names is denied."""
    topology = load(file)
    try:
        protocol, number = parse_port(port)
    except NothingToExplainError as error:
        raise click.UsageError(str(error)) from error
    targets = _targets(topology, source, destination, protocol)
    bodies: list[dict[str, Any]] = []
    policy = Policy(topology, datetime.now(UTC))
    for target in targets:
        wanted = PortSet.of([number])
        for ports, decision in policy.decide(_with_port(target, wanted)):
            if ports & wanted:
                bodies.append(_body(topology, target, port, decision, file))
    unique = list({json.dumps(body, sort_keys=True): body for body in bodies}.values())
    if output == "json":
        click.echo(json.dumps(unique, indent=2))
        return 0
    style = paint()
    lines: list[str] = []
    for body in unique:
        glyph, tone = {"denied": ("■", "good"), "allowed": ("~", "warn"), "required": ("✓", "good")}[body["declared"]]
        lines += labelled(style(glyph, tone), f"{body['from']} → {body['to']} {port}: {body['text']}", style.width, 2)
        if body["nearest"]:
            lines += labelled("", f"nearest: {body['nearest']}", style.width, 2)
    show(lines)
    return 0


def _targets(topology: Topology, source: str, destination: str, protocol: Protocol) -> list[PlanTarget]:
    """The cells between two ends; an end that exists but is in no plan stands as a target of its own."""
    agents = {
        name
        for name, environment in topology.agents().items()
        if source in {environment, name, f"{environment}.{name}"}
        or source in topology.environments[environment].agents[name].addresses
    }
    plan = [target for target in build_plan(topology, {}, {}, of=agents) if target.protocol is protocol]
    mine = [t for t in plan if not is_address(source) or source == t.source_address]
    found = [t for t in mine if _is_at(topology, t, destination)]
    if found:
        return found
    made = _made(topology, source, destination, protocol)
    if made is not None:
        return [made]
    if not mine:
        known = ", ".join(topology.environments)
        raise click.UsageError(f"nothing is probed from '{source}'; there are: {known}")
    raise click.UsageError(f"'{destination}' is not in a different environment from '{source}'; see {topology.file}")


def _is_at(topology: Topology, target: PlanTarget, end: str) -> bool:
    """Whether the target's destination is what a person calls `end`."""
    member = end.removeprefix(f"{target.destination}.")
    if end in {target.destination, target.address, *target.names} or (target.witness and member == target.witness):
        return True
    service = topology.environments[target.destination].services.get(member)
    return service is not None and not {target.address, *target.names}.isdisjoint(service.hosts)


def _made(topology: Topology, source: str, destination: str, protocol: Protocol) -> PlanTarget | None:
    """A target between two addresses that are in networks of the topology, though no agent probes them."""
    if not (is_address(destination) and (is_address(source) or source in topology.environments)):
        return None
    ends = [
        next((e.name for e in topology.environments.values() if e.contains(address)), "")
        for address in (source, destination)
    ]
    start = ends[0] or (source if source in topology.environments else "")
    if not start or not ends[1] or start == ends[1]:
        return None
    return PlanTarget(
        agent="",
        source_environment=start,
        source_address=str(ip_address(source)) if is_address(source) else "",
        destination=ends[1],
        address=str(ip_address(destination)),
        protocol=protocol,
    )


def _with_port(target: PlanTarget, ports: PortSet) -> PlanTarget:
    return replace(target, cycle=target.cycle | ports)


def _body(topology: Topology, target: PlanTarget, port: str, decision: Decision, file: Path) -> dict[str, Any]:
    path, waiver = decision.path, decision.waiver
    to = f"{target.destination}.{decision.service}" if decision.service else target.destination
    near = next(iter(nearest_paths(topology, target)), None) if path is None else None
    if path is not None:
        text = f"{decision.declared.value} by path '{path.name}', {file}:{path.mark.line}"
    else:
        text = f"denied: no path in {file} matches"
    if waiver is not None:
        text += f"; waived by {waiver.id}, {file}:{waiver.mark.line}, until {waiver.expires:%Y-%m-%d}"
    return {
        "from": f"{target.source_environment} {target.source_address}".strip(),
        "to": f"{to} {target.address}",
        "port": port,
        "declared": (decision.declared if path is not None else Declared.DENIED).value,
        "path": path.name if path is not None else None,
        "line": path.mark.line if path is not None else None,
        "waiver": waiver.id if waiver is not None else None,
        "text": text,
        "nearest": f"line {near.mark.line} '{near.name}' (from {near.source.text} to {near.destination.text})"
        if near
        else None,
    }
