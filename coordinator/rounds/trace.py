"""`explain --trace`: asks a cell's source to trace it now, with the destination's witness armed, and puts what it shows in words.

A trace is a round through the same engine as every other, so that allow-lists, rates, blackouts, `stop` and "one endpoint in
one round at a time" hold for it. Nothing is concluded from it: cells and findings stay as they are.
"""

from __future__ import annotations

from coordinator.api.views import Body, iso
from coordinator.rounds.engine import Engine
from coordinator.rounds.in_flight import Live, round_name
from coordinator.state.estate import Estate
from coordinator.state.roster import AgentState
from reachability.observation import Hop, Observation, RoundSpec, SourceReport, Target, WitnessReport
from reachability.ports import PortSet
from reachability.topology import is_address
from reachability.trace import Traced, follow
from reachability.vocabulary import Protocol, Reason, RoundKind, State

_ERRORS = {
    Reason.NO_ROUTE: "it knows no way there",
    Reason.NO_NEIGHBOUR: "its next hop on the way there does not answer",
    Reason.NO_PERMISSION: "its packet child has no raw sockets",
}


class CannotTraceError(Exception):
    """There is no trace to be had now; the text says why."""


async def trace(estate: Estate, engine: Engine, explained: Body) -> Body:
    """Trace the cell that an `explain` body shows; takes some 3 to 10 s.

    Raises:
        CannotTraceError: its agent is away, busy, too old, lacks raw sockets or may not send there.
    """
    target, agent = _target(explained), estate.agents.get((explained["cell"] or {}).get("agent", ""))
    if target is None or agent is None:
        raise CannotTraceError("there is nothing to trace: its cells are no longer in the plan")
    _ask_whether(agent, target)
    if engine.stopped:
        raise CannotTraceError(f"all probing is stopped: {engine.stopped}")
    spec = RoundSpec(
        round=round_name(),
        kind=RoundKind.TRACE,
        schedule="trace",
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
    report = _source_report(agent.name, live, engine.stopped)
    (seen,) = report.observations[:1]
    found = follow(target, report.trace, [r for r in live.reports if isinstance(r, WitnessReport)])
    return _body(spec, seen, report, found)


def _target(explained: Body) -> Target | None:
    """The first port of the shown cell; None where there is none."""
    cell = explained["cell"]
    if cell is None:
        return None
    port = str(PortSet.of([PortSet.parse(cell["ports"]).ranges[0][0]])) if cell["ports"] else ""
    return Target(
        id=1,
        environment=cell["destination"],
        address=cell["address"],
        protocol=Protocol(cell["protocol"]),
        ports=port,
        source=cell["source_address"],
        witness=explained["witness"] or "",
    )


def _ask_whether(agent: AgentState, target: Target) -> None:
    """Ask before running: a missing means is said, rather than waited for."""
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


def _body(spec: RoundSpec, seen: Observation, report: SourceReport, found: Traced) -> Body:
    witness = found.witness
    return {
        "round": spec.round,
        "agent": spec.source,
        "source_address": seen.source_address,
        "address": seen.address,
        "protocol": seen.protocol.value,
        "port": int(seen.ports) if seen.ports else None,
        "via": seen.via or None,
        "packets": report.packets,
        "seconds": report.duration_s,
        "hops": [_hop(hop) for hop in found.hops],
        "reached": found.reached,
        "stops_after": found.stops_after or None,
        "witness": {
            "agent": witness.agent,
            "healthy": witness.healthy,
            "why": witness.why or None,
            "arrived": witness.arrived,
            "least_ttl": witness.least_ttl,
        }
        if witness is not None
        else None,
        "text": found.text,
    }


def _hop(hop: Hop) -> Body:
    return {
        "ttl": hop.ttl,
        "address": hop.address or None,
        "reason": hop.reason.value,
        "rtt_ms": hop.rtt_ms,
        "sent": hop.sent,
        "answers": hop.answers,
    }
