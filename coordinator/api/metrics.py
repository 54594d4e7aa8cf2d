"""The Prometheus text exposition (format 0.0.4) of what the coordinator holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from coordinator.api.views import impact_of
from coordinator.messaging.causes import Cause
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
_AGENT = ("environment", "agent")
_PAIR = ("source", "destination")


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
    refused: Mapping[tuple[str, str], int] | None = None,
    faults: Mapping[str, int] | None = None,
) -> str:
    """All metrics, in the names of the design. `certificates` are the coordinator's own: holder to from when until when.

    `refused` counts messages by agent and cause, `faults` rounds that could not be judged by their source.
    """
    roster = list(agents)
    metrics: list[Metric] = [
        *_cells(topology, cells),
        _findings(topology, found),
        _by_agent(GaugeMetricFamily, "agent_up", "Whether the agent is connected.", roster, lambda a: a.online),
        _by_agent(
            GaugeMetricFamily,
            "agent_two_holders",
            "Whether more than one process lives under the agent's name.",
            roster,
            lambda a: a.two_holders,
        ),
        _by_agent(
            GaugeMetricFamily,
            "agent_spooled_batches",
            "Batches that wait at the agent for acknowledgement.",
            roster,
            lambda a: a.spooled,
        ),
        *_lost(roster, losses or {}),
        _by_agent(
            GaugeMetricFamily,
            "agent_clock_skew_seconds",
            "The agent's clock less the coordinator's, when it last said something of itself.",
            [agent for agent in roster if agent.clock_skew_s is not None],
            lambda a: a.clock_skew_s or 0.0,
        ),
        *_floods(floods, roster),
        _refused(refused or {}, roster),
        _faults(faults or {}, roster),
        _certificates(roster, certificates or {}),
        _durations(durations),
    ]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Made(metrics))
    return generate_latest(registry).decode()


class _Made(Collector):
    """What is there already, as the library collects it."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """All of it."""
        return self._metrics


def _cells(topology: Topology, cells: Sequence[Cell]) -> Iterator[Metric]:
    pairs = {(entry.source, entry.destination): entry for entry in coverage(cells)}
    names = list(topology.environments)
    counts = GaugeMetricFamily("segwatch_cells", "Cells by their result.", labels=(*_PAIR, "result"))
    ratios = GaugeMetricFamily("segwatch_coverage_ratio", "Proven of required cells.", labels=_PAIR)
    for pair in ((a, b) for a in names for b in names if a != b):
        entry = pairs.get(pair, Coverage(source=pair[0], destination=pair[1]))
        ratios.add_metric(pair, entry.ratio)
        for result in Result:
            counts.add_metric((*pair, result.value), entry.results.get(result, 0))
    newest = max((cell.judged.observed_at for cell in cells if cell.judged), default=0.0)
    text = "When something was last observed."
    yield from (counts, ratios, GaugeMetricFamily("segwatch_last_cycle_timestamp_seconds", text, value=newest))


def _findings(topology: Topology, found: Iterable[Finding]) -> Metric:
    metric = GaugeMetricFamily("segwatch_findings", "Findings by severity and status.", labels=("severity", "status"))
    counted = Counter((impact_of(topology, f).severity.value, f.status.value) for f in found if f.listed)
    for labels, count in sorted(counted.items()):
        metric.add_metric(labels, count)
    return metric


def _by_agent(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    text: str,
    agents: Iterable[AgentState],
    value: Callable[[AgentState], float],
) -> Metric:
    metric = kind(f"segwatch_{name}", text, labels=_AGENT)
    for agent in agents:
        metric.add_metric((agent.environment, agent.name), value(agent))
    return metric


def _lost(agents: Iterable[AgentState], known: Mapping[str, Losses]) -> Iterator[Metric]:
    """Why, from when and until when, too; of agents that are declared no more without an environment."""
    reports = CounterMetricFamily(
        "segwatch_agent_lost_reports", "Reports that the agent made and the store will never have.", labels=_AGENT
    )
    text = "When the {} of the agent's lost reports was made; `why` has of bytes, age, disk, size and gone those that it was."
    since, until = (
        GaugeMetricFamily(f"segwatch_agent_lost_{name}_timestamp_seconds", text.format(which), labels=(*_AGENT, "why"))
        for name, which in (("from", "oldest"), ("until", "newest"))
    )
    environments = {**dict.fromkeys(known, ""), **{agent.name: agent.environment for agent in agents}}
    for name, environment in environments.items():
        lost = known.get(name, Losses())
        reports.add_metric((environment, name), lost.reports)
        if lost.batches:
            since.add_metric((environment, name, lost.why), lost.since)
            until.add_metric((environment, name, lost.why), lost.until)
    yield from (reports, since, until)


def _floods(floods: Floods | None, agents: Sequence[AgentState]) -> Iterator[Metric]:
    if floods is None:
        return
    for name, counts, text in (
        ("segwatch_agent_cuts", floods.cuts, "How often the agent was cut off because it flooded."),
        ("segwatch_messages_dropped", floods.dropped, "Messages of the agent that were dropped because it flooded."),
    ):
        metric = CounterMetricFamily(name, text, labels=("agent",))
        for agent in agents:
            metric.add_metric((agent.name,), counts[agent.name])
        yield metric


def _refused(refused: Mapping[tuple[str, str], int], agents: Iterable[AgentState]) -> Metric:
    """Of "" are the ones of nobody who is declared: a broker that was captured could make up any name."""
    text = "Messages that were refused, by the agent on whose topic they came and why."
    metric = CounterMetricFamily("segwatch_messages_refused", text, labels=("agent", "cause"))
    for name in ("", *(agent.name for agent in agents)):
        for cause in Cause:
            metric.add_metric((name, cause.value), refused.get((name, cause), 0))
    return metric


def _faults(faults: Mapping[str, int], agents: Iterable[AgentState]) -> Metric:
    text = "Rounds that could not be judged, by their source; their cells stay as they were. Please report it: the log says more."
    metric = CounterMetricFamily("segwatch_rounds_not_judged", text, labels=("agent",))
    for name in ("", *(agent.name for agent in agents)):
        metric.add_metric((name,), faults.get(name, 0))
    return metric


def _certificates(agents: Iterable[AgentState], own: Mapping[str, tuple[float, float]]) -> Metric:
    text = "When the certificate ends: of an agent, or of the coordinator's own."
    metric = GaugeMetricFamily("segwatch_certificate_expires_timestamp_seconds", text, labels=("holder", *_AGENT))
    for agent in agents:
        if agent.certificate[1]:
            metric.add_metric(("agent", agent.environment, agent.name), agent.certificate[1])
    for holder, (_, ends) in own.items():
        metric.add_metric((holder, "", ""), ends)
    return metric


def _durations(durations: Durations) -> Metric:
    text = "How long rounds took, from arming to the last report."
    metric = HistogramMetricFamily("segwatch_probe_duration_seconds", text, labels=("agent",))
    for agent in sorted(durations.totals):
        buckets = [(f"{bound:g}", durations.counts[agent, bound]) for bound in BUCKETS_S]
        metric.add_metric((agent,), [*buckets, ("+Inf", durations.totals[agent])], durations.sums[agent])
    return metric
