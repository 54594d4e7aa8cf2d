"""A round while it is under way: who is armed, what has come in, and how it is told."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Protocol

from coordinator.store import Report
from reachability.arrival import WitnessReport
from reachability.round_data import RoundSpec
from reachability.topology import Topology
from reachability.vocabulary import Role
from wire.messages import Arm, Armed, Done, Down


class Post(Protocol):
    """Sends a signed message down to an agent."""

    async def __call__(self, agent: str, body: Down) -> None:
        """Returns once the broker has it; a broker that is away loses it, and the round's deadlines say so."""


@dataclass(slots=True)
class Live:
    """A round under way. `armed` is who listened from before its source had gone; `has_gone` is whether that is settled."""

    spec: RoundSpec
    key: bytes
    armed: dict[str, bool] = field(default_factory=dict)
    has_gone: bool = False
    problems: list[str] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    done: Done | None = None
    done_at: float = 0.0  # by the loop's clock
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    passed_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    async def wait(self, most_s: float) -> None:
        """Until something has come in, or so many seconds have passed."""
        self.changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self.changed.wait()
        self.passed_at = asyncio.get_running_loop().time()

    def heard(self, agent: str, message: Armed | Done) -> None:
        """One who takes part in it is ready, or the source is done."""
        if isinstance(message, Armed):
            if self.has_gone:
                self.problems.append(f"{agent}: ready after the source had gone")
            else:
                self.armed[agent] = True
        elif agent == self.spec.source:
            self.done, self.done_at = message, asyncio.get_running_loop().time()
        else:
            return
        self.problems.extend(f"{agent}: {problem}" for problem in message.problems)
        self.changed.set()

    def has_source(self) -> bool:
        """Whether the source's report is in."""
        return any(
            not isinstance(r, WitnessReport) and r.role is Role.SOURCE and r.agent == self.spec.source
            for r in self.reports
        )

    def reported(self, agent: str, arm: Arm) -> bool:
        """Whether all that the agent was asked for is in."""
        listened = not arm.targets or any(isinstance(r, WitnessReport) and r.agent == agent for r in self.reports)
        inside = not arm.inside or any(
            not isinstance(r, WitnessReport) and r.role is Role.INSIDE and r.agent == agent for r in self.reports
        )
        return listened and inside


def stands(spec: RoundSpec, topology: Topology) -> bool:
    """Whether a topology that came meanwhile still has the source of a round where it was, and its destination."""
    return topology.agents().get(spec.source) == spec.source_environment and spec.destination in topology.environments


def round_name() -> str:
    """A round's id: time in milliseconds, then chance; sorts by time."""
    return f"{int(time.time() * 1000):011X}{secrets.token_hex(4).upper()}"
