"""A round while it is under way: who is armed, what has come in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from coordinator.store import Report
from reachability.observation import RoundSpec, WitnessReport
from wire.messages import Arm, Done


@dataclass(slots=True)
class Live:
    """A round under way."""

    spec: RoundSpec
    key: bytes
    armed: dict[str, bool] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    done: Done | None = None
    observed_at: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def has_source(self) -> bool:
        """Whether the source's report is in."""
        return any(
            not isinstance(r, WitnessReport) and r.role == "source" and r.agent == self.spec.source
            for r in self.reports
        )

    def reported(self, agent: str, arm: Arm) -> bool:
        """Whether all that the agent was asked for is in."""
        listened = not arm.targets or any(isinstance(r, WitnessReport) and r.agent == agent for r in self.reports)
        inside = not arm.inside or any(
            not isinstance(r, WitnessReport) and r.role == "inside" and r.agent == agent for r in self.reports
        )
        return listened and inside
