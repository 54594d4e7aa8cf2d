"""The file of a baseline: read, and written from what fails in a verify run."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cli.errors import Problem
from cli.files import piped, replace_file
from cli.show.render import parse_time, plural
from coordinator.api.responses.runs import FailingCells, FinishedRun
from coordinator.api.responses.status import TopologyInForce
from coordinator.topology.baseline import BaselineErrors, baseline_text, load_baseline, parse_baseline
from coordinator.topology.load import MOST_BYTES
from reachability.baseline import Baseline, Entry, Failing, renewed
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


def check_environments(baseline: Baseline, topology: TopologyInForce) -> None:
    """Problem for entries between environments that the topology does not have: they would never be heard of again."""
    wrong = [
        f"{baseline.file}:{entry.mark.line}:{entry.mark.column}: {topology.file} has no environment '{name}'; "
        + (f"did you mean '{near[0]}'?" if near else "take the entry out")
        for entry in baseline.entries
        for name in dict.fromkeys((entry.source, entry.destination))
        if name not in topology.environments
        for near in [difflib.get_close_matches(name, topology.environments, n=1)]
    ]
    if wrong:
        raise Problem(f"the baseline has {plural(len(wrong), 'error')}:", *wrong)


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
        failing = failing_of(cell)
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


def failing_of(cell: FailingCells) -> Failing:
    """Failing cells as a baseline compares them; Problem for words of another version."""
    try:
        kind, protocol = Kind(cell.kind), Protocol(cell.protocol)
        ports = ICMP_CELL if cell.ports is None else PortSet.parse(cell.ports)
    except ValueError as error:
        raise Problem(
            f"the run has a failing cell that this version does not know: {error}",
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
