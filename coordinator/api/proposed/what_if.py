"""`verify --what-if`: the last observations under another topology. Nothing is sent, stored, ordered or changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from coordinator.api.auth import ApiError, read_body
from coordinator.api.errors import as_json, encoded
from coordinator.api.responses import runs
from coordinator.api.responses.status import TopologyFile
from coordinator.api.verify import concluded, of_run, verify
from coordinator.json_types import iso
from coordinator.rounds.verify_runs import RunState
from coordinator.state.estate import Estate
from coordinator.state.in_force import planned
from coordinator.state.planning import Plan
from coordinator.state.roster import AgentState
from coordinator.state.situation import situation_of
from coordinator.topology.load import MOST_BYTES, TopologyErrors, parse_topology
from reachability.compare import Cell, in_scope
from reachability.finding import Finding
from reachability.plan import PlanTarget
from reachability.ports import PortSet, text_of
from reachability.topology import Topology
from reachability.vocabulary import Result
from reachability.what_if import Change, Supposed, changes

WHAT_IF = "/api/v1/what-if"
MOST_BODY = 3 * MOST_BYTES + 64 * 1024  # JSON may write a byte of text as three
_SETTLE = "put it in force, then `segwatch verify`"
_NOT_TRIED = "no round has tried it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is judged, and what of it. `sweep`, `source` and `destination` as a verify run has them."""

    topology: Topology
    sweep: bool = False
    source: str | None = None
    destination: str | None = None
    with_cells: bool = False

    def scoped(self, plan: Iterable[PlanTarget]) -> tuple[PlanTarget, ...]:
        """The part of a plan that it is about."""
        return in_scope(plan, sweep=self.sweep, source=self.source, destination=self.destination)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A proposed topology, judged at one moment. Nothing in it changes any more, so a thread may read it."""

    asked: Asked
    held: Topology
    at: float  # epoch seconds
    plan: tuple[PlanTarget, ...]
    before: tuple[Cell, ...]
    after: tuple[Cell, ...]
    findings: tuple[Finding, ...]
    agents: tuple[AgentState, ...]


async def answered(request: web.Request, estate: Estate) -> web.Response:
    """`POST WHAT_IF`: as a verify run that is over answers, with `what_if` in its result."""
    body = read_body(await request.read())
    asked = await asyncio.to_thread(asked_of, body)
    try:
        plan = await planned(asked.topology, estate)
    except TopologyErrors as errors:
        raise ApiError(500, str(errors)) from errors
    judged = judge(estate, asked, plan)
    return as_json(await asyncio.to_thread(lambda: encoded(body_of(judged))))


def asked_of(body: Mapping[str, Any]) -> Asked:
    """What a request asks for; ApiError, in words, for what cannot be judged."""
    text, file = body.get("topology"), body.get("file", "topology.yaml")
    if not (isinstance(text, str) and isinstance(file, str)):
        raise ApiError(400, "`topology` is the text of a topology file, and `file` what it is called")
    try:
        topology = parse_topology(text.encode("utf-8", "surrogatepass"), file)
    except TopologyErrors as errors:
        raise ApiError(400, str(errors)) from errors
    for name in (ends := (body.get("from"), body.get("to"))):
        if name is not None and not (isinstance(name, str) and name in topology.environments):
            raise ApiError(400, f"{file} has no environment '{name}'; it has: {', '.join(topology.environments)}")
    return Asked(
        topology=topology,
        sweep=bool(body.get("sweep")),
        source=ends[0],
        destination=ends[1],
        with_cells=bool(body.get("cells")),
    )


def judge(estate: Estate, asked: Asked, plan: Plan) -> Judged:
    """By what the estate holds now, and the plan of what is asked; ApiError where nothing of it was ever observed."""
    now = estate.now()
    after = Supposed(estate.topology, asked.topology).cells(asked.scoped(plan), estate.matrix, now)
    if not any(cell.judged is not None and cell.judged.round for cell in after):
        raise ApiError(
            409,
            f"nothing of what {asked.topology.file} asks for was observed under the topology in force "
            f"({estate.topology.file}): put it in force, then `segwatch verify`",
        )
    return Judged(
        asked=asked,
        held=estate.topology,
        at=now.timestamp(),
        plan=plan,
        before=estate.cells(asked.scoped(estate.plan)),
        after=after,
        findings=estate.book.findings,
        agents=tuple(state for name, state in estate.agents.items() if name in asked.topology.agents()),
    )


def body_of(judged: Judged) -> runs.FinishedRun:
    """As a verify run that is over; what was not observed is not-run, and `unproven` says why."""
    asked, topology = judged.asked, judged.asked.topology
    told = runs.Run(
        run="",
        state=RunState.FINISHED,
        waiting_for=(),
        progress=runs.Progress(cells=sum(cell.count for cell in judged.after), done=0),
        error=None,
        stopped=None,
        ended=False,
        result=None,
    )
    verified = verify(
        topology,
        judged.after,
        judged.findings,
        judged.agents,
        started=judged.at,
        finished=judged.at,
        scope=(asked.source, asked.destination),
        with_cells=asked.with_cells,
    )
    failing = {found.id for found in of_run([c for c in judged.after if c.result is Result.FAIL], judged.findings)}
    verified = msgspec.structs.replace(
        verified,
        findings=tuple(
            msgspec.structs.replace(found, result=(Result.FAIL if found.id in failing else Result.WAIVED).value)
            for found in verified.findings
        ),
        what_if=_what_if(judged),
    )
    body = concluded(
        told, verified, situation_of(topology, judged.agents, in_run=True), judged.after, judged.findings, judged.plan
    )
    supposed = Supposed(judged.held, topology)
    whys = {(t.agent, t.destination, t.address): supposed.why_not(t) for t in judged.plan}
    unproven = tuple(
        msgspec.structs.replace(
            one,
            means=next(filter(None, (whys.get((a, one.destination, one.address)) for a in one.agents)), _NOT_TRIED),
            settle=_SETTLE,
        )
        if one.result == Result.NOT_RUN.value
        else one
        for one in body.unproven
    )
    return msgspec.structs.replace(body, unproven=unproven)


def _what_if(judged: Judged) -> runs.WhatIf:
    times = [cell.judged.observed_at for cell in judged.after if cell.judged is not None and cell.judged.round]
    topology, held = judged.asked.topology, judged.held
    return runs.WhatIf(
        topology=TopologyFile(file=topology.file, digest=topology.digest),
        in_force=TopologyFile(file=held.file, digest=held.digest),
        oldest=iso(min(times, default=0.0)),
        newest=iso(max(times, default=0.0)),
        changes=tuple(_folded(list(changes(judged.before, judged.after)))),
    )


def _folded(found: Sequence[Change]) -> Iterable[runs.Changed]:
    """One entry for what changes alike on one host."""
    groups: dict[tuple[Any, ...], list[Change]] = {}
    for change in found:
        cell = change.cell
        results = tuple(side and side.result for side in (change.before, change.after))
        alike = (cell.pair, cell.key.address, cell.key.protocol, results, cell.required, cell.path and cell.path.name)
        groups.setdefault(alike, []).append(change)
    for group in groups.values():
        first = group[0]
        cell = first.cell
        yield runs.Changed(
            source=cell.source_environment,
            agents=tuple(sorted({change.cell.key.agent for change in group})),
            destination=cell.key.destination,
            address=cell.key.address,
            service=cell.service,
            protocol=cell.key.protocol.value,
            ports=text_of(PortSet.union(change.ports for change in group)),
            cells=sum(len(change.ports) for change in group),
            required=cell.required,
            before=first.before.result.value if first.before else None,
            after=first.after.result.value if first.after else None,
            declared=first.after.declared.value if first.after else None,
            path=first.after.path.name if first.after and first.after.path else None,
        )
