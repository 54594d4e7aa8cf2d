"""A round: what the coordinator asked for, and all the reports of it that have come in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reachability.arrival import WitnessReport
from reachability.observation import SourceReport, Target
from reachability.vocabulary import RoundKind, Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSpec:
    """What the coordinator asked for: enough to conclude a round from its reports, later too."""

    round: str
    kind: RoundKind
    schedule: Schedule
    source: str  # agent
    source_environment: str
    destination: str  # environment
    targets: tuple[Target, ...]
    run: str = ""  # the verify run it belongs to
    beside: tuple[Target, ...] = ()  # declared endpoints, of any environment, that serve as source controls: not cells
    spread_s: float = 0.0  # over which the copies of what is silent must have left
    layout: str = ""  # of the pair when it began, as `reachability.layout` has it


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundData:
    """A round with all the reports that have come in so far.

    `armed`: agent -> it listened from before the first packet until after the last. `two_holders`: agents under whose name more
    than one process was heard of meanwhile.
    """

    spec: RoundSpec
    source: SourceReport | None = None
    witnesses: tuple[WitnessReport, ...] = ()
    insides: tuple[SourceReport, ...] = ()
    armed: Mapping[str, bool] = field(default_factory=dict)
    two_holders: frozenset[str] = frozenset()
