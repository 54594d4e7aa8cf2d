"""Whose word counts in a round: of each report only what was asked of the agent that made it, and silence only of its window.

A witness speaks of the addresses that are its own, an inside control of the targets that it was to ask, the source for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reachability.arrival import WitnessReport
from reachability.observation import SourceReport, Target
from reachability.round_data import RoundData
from reachability.verdict import Evidence
from reachability.vocabulary import Arrival, Role, State, Unproven

SLEW = 0.001  # of two steady clocks that are brought into step, 500 ppm each at most: adjtimex(2)


def of_those_asked(data: RoundData) -> RoundData:
    """The round with what its reports may speak of. Nothing counts of an agent under whose name two processes live."""
    spec = data.spec
    source = data.source
    if source is not None and (source.agent != spec.source or source.role is not Role.SOURCE):
        source = None
    return replace(
        data,
        source=None if source is None else _source(source, data),
        witnesses=tuple(
            _witness(report, data, source) for report in data.witnesses if report.agent not in data.two_holders
        ),
        insides=tuple(_inside(report, data) for report in data.insides if report.agent not in data.two_holders),
    )


def without_two_holders(e: Evidence, rounds: Sequence[RoundData], target: Target) -> Evidence:
    """Unknown where a process that may be anywhere took part under the name of the cell's source, witness or inside control.

    What the source and the witness both show needs no inside control, and stands without it.
    """
    doubted = frozenset().union(*(data.two_holders for data in rounds))
    if rounds[0].spec.source in doubted:
        return replace(e, state=State.ERROR, arrival=Arrival.NO_WITNESS, problem=Unproven.TWO_HOLDERS)
    on_inside = e.arrival is Arrival.NO_WITNESS or (e.bound and e.arrival is Arrival.SEEN)
    if target.witness in doubted or (target.inside in doubted and on_inside):
        return replace(e, problem=Unproven.TWO_HOLDERS)
    return e


def _source(report: SourceReport, data: RoundData) -> SourceReport:
    """What left another address than was asked for is of another cell, which this round has, or not."""
    asked = {target.id: target.source for target in data.spec.targets}
    mine = tuple(o for o in report.observations if not asked.get(o.target) or o.source_address == asked[o.target])
    return replace(report, observations=mine)


def _witness(report: WitnessReport, data: RoundData, source: SourceReport | None) -> WitnessReport:
    """Of its own addresses alone; of less than the source's whole time it says nothing of what did not come."""
    asked = (*data.spec.targets, *data.spec.beside)
    own = {target.id: target.address for target in asked if target.witness == report.agent}
    addresses = frozenset(own.values())
    health = tuple(h for h in report.health if h.address in addresses)
    if source is not None and report.listened_s < source.duration_s * (1 - SLEW):
        why = f"it listened for {report.listened_s:.1f} s, and the source's part took {source.duration_s:.1f} s"
        health = tuple(replace(h, healthy=False, why=h.why or why) for h in health)
    return replace(
        report,
        arrivals=tuple(row for row in report.arrivals if own.get(row.target) == row.address),
        untokened=tuple(flow for flow in report.untokened if flow.address in addresses),
        crowded=tuple(row for row in report.crowded if row.address in addresses),
        groups=tuple(group for group in report.groups if group.target in own),
        health=health,
    )


def _inside(report: SourceReport, data: RoundData) -> SourceReport:
    own = {target.id: target.address for target in data.spec.targets if target.inside == report.agent}
    return replace(report, observations=tuple(o for o in report.observations if own.get(o.target) == o.address))
