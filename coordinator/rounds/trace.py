"""`explain --trace`: asks a cell's source to trace it now, with the destination's witness armed, and puts what it shows in words.

A trace is a round through the same engine as every other, so that allow-lists, rates, blackouts, `stop` and "one endpoint in
one round at a time" hold for it. Nothing is concluded from it: cells and findings stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.json_types import iso
from coordinator.rounds.engine import Engine
from coordinator.rounds.in_flight import Live, round_name
from coordinator.state.estate import Estate
from coordinator.state.roster import AgentState
from reachability.arrival import WitnessReport
from reachability.compare import key_of
from reachability.matrix import CellKey
from reachability.observation import Observation, SourceReport, Target
from reachability.ports import PortSet
from reachability.round_data import RoundSpec
from reachability.topology import is_address
from reachability.trace import Traced, follow
from reachability.vocabulary import Reason, RoundKind, Schedule, State

NOT_PLANNED = "there is nothing to trace: its cells are no longer in the plan"
_ERRORS = {
    Reason.NO_ROUTE: "it knows no route there",
    Reason.NO_NEIGHBOUR: "its next hop on the way there does not answer",
    Reason.NO_PERMISSION: "its packet child has no raw sockets",
}


class CannotTraceError(Exception):
    """No trace can be made now; the text says why."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace that was made: what was asked, what the source saw of the cell, its report, and what all of it shows."""

    spec: RoundSpec
    seen: Observation
    report: SourceReport
    shows: Traced


async def trace(estate: Estate, engine: Engine, key: CellKey, ports: PortSet, witness: str) -> Trace:
    """Trace the first of these ports of a cell; takes some 3 to 10 s.

    Raises:
        CannotTraceError: its agent is away, busy, too old, lacks raw sockets or may not send there.
    """
    agent = estate.agents.get(key.agent)
    if agent is None:
        raise CannotTraceError(NOT_PLANNED)
    target = Target(
        id=1,
        environment=key.destination,
        address=key.address,
        protocol=key.protocol,
        ports=PortSet.of([ports.first]),
        source=key.source_address,
        witness=witness,
    )
    _ask_whether(agent, target)
    if any(planned.elsewhere and key_of(planned) == key for planned in estate.plan):
        raise CannotTraceError(f"{key.address} is in no network of {key.destination}: nothing is sent there")
    if held := engine.brake.holds(""):
        raise CannotTraceError(f"all probing is stopped: {held}")
    spec = RoundSpec(
        round=round_name(),
        kind=RoundKind.TRACE,
        schedule=Schedule.TRACE,
        source=agent.name,
        source_environment=agent.environment,
        destination=target.environment,
        targets=(target,),
    )
    try:
        live = await engine.trace(spec)
    except TimeoutError:
        busy = f"another round has {agent.name} or {target.environment} to itself"
        raise CannotTraceError(f"{busy}, and has not ended in time: try again later") from None
    report = _source_report(agent.name, live, engine.brake.holds(""))
    found = follow(target, report.trace, [r for r in live.reports if isinstance(r, WitnessReport)])
    return Trace(live.spec, report.observations[0], report, found)


def _ask_whether(agent: AgentState, target: Target) -> None:
    """Ask before running: what is missing is said, rather than waited for."""
    if not agent.online:
        since = f"; it was last heard of at {iso(agent.last_seen)}" if agent.last_seen else ""
        raise CannotTraceError(f"{agent.name} is not connected{since}")
    if not agent.raw:
        raise CannotTraceError(f"{agent.name} cannot trace: {agent.lacks or 'it has no raw sockets'}")
    if not agent.traces:
        raise CannotTraceError(f"{agent.name} runs segwatch {agent.version or '?'}, which cannot trace: upgrade it")
    if not is_address(target.address):
        raise CannotTraceError(f"{target.address} does not resolve at {agent.name}")


def _source_report(agent: str, live: Live, stopped: str) -> SourceReport:
    """What the source said; CannotTraceError when it sent nothing."""
    report = next((r for r in live.reports if isinstance(r, SourceReport) and r.agent == agent), None)
    if report is None or not report.observations:
        said = "; ".join(live.problems) or (report and "; ".join(report.problems))
        why = f"all probing was stopped: {stopped}" if stopped else said or "it did not answer in time"
        raise CannotTraceError(f"{agent} did not trace: {why}")
    seen = report.observations[0]
    if seen.state is State.ERROR:
        why = seen.note or _ERRORS.get(seen.reason, f"{seen.reason.value}; {'; '.join(report.problems)}".rstrip("; "))
        raise CannotTraceError(f"{agent} did not trace {seen.address}: {why}")
    return report
