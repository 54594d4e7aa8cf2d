"""A round while it is under way: who is armed, what has come in, and how it is told."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from coordinator.state.reports import round_data
from coordinator.store import Part, Parts, Report
from reachability.arrival import WitnessReport
from reachability.inside import ANSWERS
from reachability.layout import layout_of
from reachability.round_data import RoundData, RoundSpec
from reachability.topology import Topology
from reachability.vocabulary import Role
from wire.messages import Arm, Armed, Done, Down

GONE_S = 3.0


class Post(Protocol):
    """Sends a signed message down to an agent."""

    async def __call__(self, agent: str, body: Down) -> None:
        """Returns once the broker has it; a broker that is away loses it, and the round's deadlines say so."""


@dataclass(slots=True)
class Live:
    """A round under way. `parts`: who was ready before its source had gone, and the source; `has_gone`: whether that is settled."""

    spec: RoundSpec
    key: bytes
    parts: Parts = field(default_factory=dict)
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
        """One who takes part in it is ready, or the source is done; not so another process that goes by its name."""
        part = self.parts.get(agent)
        if part is not None and message.instance not in {"", part.instance} and part.instance:
            self.parts[agent] = replace(part, two_holders=True)
            self.problems.append(f"{agent}: another process than the one that was asked answers under its name")
            return
        if isinstance(message, Armed):
            if self.has_gone:
                self.problems.append(f"{agent}: ready after the source had gone")
            else:
                why = "" if message.ok else "; ".join(message.problems)
                self.parts[agent] = Part(whole=message.ok, instance=message.instance, why=why)
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
        mine = [r for r in self.reports if r.agent == agent]
        listened = not arm.targets or any(isinstance(r, WitnessReport) for r in mine)
        inside = [r for r in mine if not isinstance(r, WitnessReport) and r.role is Role.INSIDE]
        # A version that does not say which process it is asks once.
        asks_again = self.done is not None and any(
            o.state in ANSWERS for r in inside if r.instance for o in r.observations
        )
        return listened and (not arm.inside or (bool(inside) and (not asks_again or any(r.again for r in inside))))

    def has_all(self, asked: Mapping[str, Arm], online: Callable[[str], bool]) -> bool:
        """Whether all who were ready have reported, and the source where it is done; who has gone is not waited for."""
        waited = (agent for agent in asked if agent in self.parts and online(agent))
        return (self.done is None or self.has_source()) and all(self.reported(a, asked[a]) for a in waited)

    def settle(self, two_holders: Iterable[str]) -> None:
        """Its packets are out, or it is given up. Of one whose source was not heard to be done nobody heard all."""
        self.parts = {
            agent: replace(part, whole=part.whole and self.done is not None) for agent, part in self.parts.items()
        }
        for agent in two_holders:
            self.parts[agent] = replace(self.parts.get(agent, Part()), two_holders=True)

    def data(self) -> RoundData:
        """What is in."""
        return round_data(self.spec, self.parts, self.reports)

    async def until(
        self, within_s: float, ready: Callable[[], bool], *, stopped: Callable[[], bool], away: Callable[[], bool]
    ) -> None:
        """Wait for something, but not for ever, and not for who has been `away` for some seconds."""
        steady = asyncio.get_running_loop().time
        until, gone_at = steady() + within_s, None
        while not ready() and not stopped() and (now := steady()) < until:
            gone_at = (now if gone_at is None else gone_at) if away() else None
            if gone_at is not None and now - gone_at > GONE_S:
                return
            await self.wait(min(0.5, until - now))


def stalled(rounds: Mapping[str, Live], judging_s: float, most_s: float) -> str:
    """What should have come by long ago, in words: a round, or the judging that takes so long; "" when all go on."""
    since = asyncio.get_running_loop().time() - most_s
    late = [f"round {name}" for name, live in rounds.items() if live.passed_at < since]
    if judging_s > most_s:
        late.append("the judging of a round")
    return f"{', '.join(late)}: no progress for {most_s:.0f} s" if late else ""


def stands(spec: RoundSpec, topology: Topology, moves: Mapping[str, str]) -> bool:
    """Whether a topology that came meanwhile still has a round's source and its destination, and both as they were."""
    here, there = spec.source_environment, spec.destination
    if topology.agents().get(spec.source) != here or there not in topology.environments:
        return False
    return spec.layout in {"", layout_of(topology, here, there, moves)}


def round_name() -> str:
    """A round's id: time in milliseconds, then chance; sorts by time."""
    return f"{int(time.time() * 1000):011X}{secrets.token_hex(4).upper()}"
