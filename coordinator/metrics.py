"""The Prometheus text exposition (format 0.0.4) of what the coordinator holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from coordinator.views import AgentState, impact_of
from reachability.compare import Cell
from reachability.coverage import Coverage, coverage
from reachability.finding import Finding
from reachability.topology import Topology
from reachability.vocabulary import Result

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class Durations:
    """How long rounds took, as a histogram by probing agent."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, float]] = Counter()
        self.sums: dict[str, float] = {}
        self.totals: Counter[str] = Counter()

    def observe(self, agent: str, seconds: float) -> None:
        """Take a round."""
        self.sums[agent] = self.sums.get(agent, 0.0) + seconds
        self.totals[agent] += 1
        for bound in BUCKETS_S:
            if seconds <= bound:
                self.counts[agent, bound] += 1


def exposition(
    topology: Topology,
    cells: Sequence[Cell],
    found: Iterable[Finding],
    agents: Iterable[AgentState],
    durations: Durations,
) -> str:
    """All metrics, in the names of the design."""
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
    lines += [
        _line("segwatch_agent_up", {"environment": a.environment, "agent": a.name}, int(a.online)) for a in agents
    ]
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


def _pair(pairs: Mapping[tuple[str, str], Coverage], source: str, destination: str) -> Coverage:
    return pairs.get((source, destination), Coverage(source=source, destination=destination))


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value:.17g}" if inner else f"{name} {value:.17g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
