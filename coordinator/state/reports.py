"""What was reported of a round, put in its places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from coordinator.store import Part, Report
from reachability.arrival import WitnessReport
from reachability.observation import SourceReport
from reachability.round_data import RoundData, RoundSpec
from reachability.vocabulary import Role

IN_PART = "it did not listen from before the first packet until after the last"


def has_part(spec: RoundSpec, agent: str) -> bool:
    """Whether the agent was asked for anything in the round: what others say of it counts for nothing."""
    parts = ((target.witness, target.inside) for target in (*spec.targets, *spec.beside))
    return agent == spec.source or any(agent in part for part in parts)


def round_data(spec: RoundSpec, parts: Mapping[str, Part], reports: Iterable[Report]) -> RoundData:
    """A round with the reports of those who take part in it, each in its place; of two of one source the later counts.

    What a witness saw that did not listen from the first to the last counts, what it did not see does not. Of another process than
    the one that was armed or sent off nothing does: it may be anywhere.
    """
    source: SourceReport | None = None
    insides: dict[tuple[str, bool], SourceReport] = {}
    witnesses: list[WitnessReport] = []
    for report in reports:
        part = parts.get(report.agent, Part())
        if not has_part(spec, report.agent) or (part.instance and report.instance not in {"", part.instance}):
            continue
        if isinstance(report, WitnessReport):
            if not report.late:
                witnesses = [w for w in witnesses if w.agent != report.agent or w.late]
            witnesses.append(report if part.whole else _in_part(report, part.why))
        elif report.role is Role.INSIDE:
            insides[report.agent, report.again] = report
        elif report.agent == spec.source:
            source = report
    return RoundData(
        spec=spec,
        source=source,
        witnesses=tuple(witnesses),
        insides=tuple(insides.values()),
        armed={agent: part.whole for agent, part in parts.items()},
        two_holders=frozenset(agent for agent, part in parts.items() if part.two_holders),
    )


def _in_part(report: WitnessReport, why: str) -> WitnessReport:
    health = tuple(replace(h, healthy=False, why=h.why or why or IN_PART) for h in report.health)
    return replace(report, health=health)
