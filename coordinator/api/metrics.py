"""The Prometheus text exposition (format 0.0.4) of what the coordinator holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from coordinator.api.views import impact_of
from coordinator.messaging.floods import Floods
from coordinator.rounds.durations import BUCKETS_S, Durations
from coordinator.state.roster import AgentState
from coordinator.store import Losses
from reachability.compare import Cell
from reachability.coverage import Coverage, coverage
from reachability.finding import Finding
from reachability.topology import Topology
from reachability.vocabulary import Result

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(
    topology: Topology,
    cells: Sequence[Cell],
    found: Iterable[Finding],
    agents: Iterable[AgentState],
    durations: Durations,
    *,
    losses: Mapping[str, Losses] | None = None,
    floods: Floods | None = None,
    certificates: Mapping[str, tuple[float, float]] | None = None,
) -> str:
    """All metrics, in the names of the design. `certificates` are the coordinator's own: holder to from when until when."""
    roster = list(agents)
    pairs = {(entry.source, entry.destination): entry for entry in coverage(cells)}
    names = list(topology.environments)
    both = [(a, b) for a in names for b in names if a != b]
    lines = _head("segwatch_cells", "gauge", "Cells by their result.")
    lines += [
        _line(
            "segwatch_cells",
            {"source": a, "destination": b, "result": result.value},
            _pair(pairs, a, b).results.get(result, 0),
        )
        for a, b in both
        for result in Result
    ]
    lines += _head("segwatch_coverage_ratio", "gauge", "Proven of required cells.")
    lines += [
        _line("segwatch_coverage_ratio", {"source": a, "destination": b}, _pair(pairs, a, b).ratio) for a, b in both
    ]
    lines += _head("segwatch_findings", "gauge", "Findings by severity and status.")
    counted = Counter((impact_of(topology, f).severity.value, f.status.value) for f in found if f.listed)
    lines += [
        _line("segwatch_findings", {"severity": severity, "status": status}, count)
        for (severity, status), count in sorted(counted.items())
    ]
    lines += _head("segwatch_agent_up", "gauge", "Whether the agent is connected.")
    lines += _by_agent("segwatch_agent_up", roster, lambda agent: int(agent.online))
    lines += _head("segwatch_agent_spooled_batches", "gauge", "Batches that wait at the agent for acknowledgement.")
    lines += _by_agent("segwatch_agent_spooled_batches", roster, lambda agent: agent.spooled)
    lines += _head(
        "segwatch_agent_lost_reports_total", "counter", "Reports that the agent made and the store will never have."
    )
    known = losses or {}
    lines += _by_agent("segwatch_agent_lost_reports_total", roster, lambda a: known.get(a.name, Losses()).reports)
    for name, counts, text in _floods(floods):
        lines += _head(name, "counter", text)
        lines += [_line(name, {"agent": agent.name}, counts[agent.name]) for agent in roster]
    name = "segwatch_certificate_expires_timestamp_seconds"
    lines += _head(name, "gauge", "When the certificate ends: of an agent, or of the coordinator's own.")
    lines += [
        _line(name, {"holder": "agent", "environment": a.environment, "agent": a.name}, a.certificate[1])
        for a in roster
        if a.certificate[1]
    ]
    lines += [_line(name, {"holder": holder}, ends) for holder, (_, ends) in (certificates or {}).items()]
    lines += _head("segwatch_last_cycle_timestamp_seconds", "gauge", "When something was last observed.")
    newest = max((cell.judged.observed_at for cell in cells if cell.judged), default=0.0)
    lines.append(_line("segwatch_last_cycle_timestamp_seconds", {}, newest))
    lines += _head(
        "segwatch_probe_duration_seconds", "histogram", "How long rounds took, from arming to the last report."
    )
    for agent in sorted(durations.totals):
        name = "segwatch_probe_duration_seconds"
        for bound in BUCKETS_S:
            lines.append(_line(f"{name}_bucket", {"agent": agent, "le": f"{bound:g}"}, durations.counts[agent, bound]))
        lines.append(_line(f"{name}_bucket", {"agent": agent, "le": "+Inf"}, durations.totals[agent]))
        lines.append(_line(f"{name}_sum", {"agent": agent}, durations.sums[agent]))
        lines.append(_line(f"{name}_count", {"agent": agent}, durations.totals[agent]))
    return "\n".join(lines) + "\n"


def _by_agent(name: str, agents: Iterable[AgentState], value: Callable[[AgentState], float]) -> list[str]:
    return [_line(name, {"environment": agent.environment, "agent": agent.name}, value(agent)) for agent in agents]


def _floods(floods: Floods | None) -> tuple[tuple[str, Counter[str], str], ...]:
    if floods is None:
        return ()
    return (
        ("segwatch_agent_cuts_total", floods.cuts, "How often the agent was cut off because it flooded."),
        ("segwatch_messages_dropped_total", floods.dropped, "Messages of the agent that were not read for that."),
    )


def _pair(pairs: Mapping[tuple[str, str], Coverage], source: str, destination: str) -> Coverage:
    return pairs.get((source, destination), Coverage(source=source, destination=destination))


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value:.17g}" if inner else f"{name} {value:.17g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
