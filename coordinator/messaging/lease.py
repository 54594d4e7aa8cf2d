"""Orders are a lease: what lets an agent send does so for a while, and is said again while nothing is stopped.

A broker that keeps a stop back has to pass on what renews the lease, and the coordinator signs no more of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from coordinator.state.estate import Estate
from wire.messages import Arm, Go, Plan, Stop
from wire.signing import AnyDown

PERIOD_S = 30.0
LEASE_S = 2 * PERIOD_S  # an agent that hears nothing for two periods stops
OVER = -1.0
LOOK_S = 1.0


def leased(body: AnyDown) -> AnyDown:
    """The same, with a lease where it belongs to it and none is said."""
    if isinstance(body, Plan | Arm | Go) and not body.lease_s:
        return msgspec.structs.replace(body, lease_s=LEASE_S)
    return body


class Plans:
    """Sends agents their plan: when one comes, when another topology is in force, and each period, as a lease."""

    def __init__(
        self,
        estate: Estate,
        post: Callable[[str, Plan | Stop], Coroutine[Any, Any, None]],
        stopped: Callable[[], str],
        trust: Callable[[], str] = lambda: "",
    ) -> None:
        """`stopped` says why nothing may be probed now, "" when something may; `trust` which CAs are trusted."""
        self._estate, self._post, self._stopped, self._trust = estate, post, stopped, trust
        self._wanted: set[str] = set()
        self._under_way: set[str] = set()  # the broker has not said yet that it has theirs
        self._is_wanted = asyncio.Event()

    def want(self, agent: str) -> None:
        """It gets its plan at once."""
        self._wanted.add(agent)
        self._is_wanted.set()

    async def run(self) -> None:
        """For ever."""
        clock = asyncio.get_running_loop().time
        due, held = clock() + PERIOD_S, self._stopped()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._until_wanted()
                before, held = held, self._stopped()
                if not held and (before or clock() >= due):
                    self._wanted.update(name for name, state in self._estate.agents.items() if state.online)
                    due = clock() + PERIOD_S
                # Nobody waits for another: a broker that takes its time over one agent's ends nobody else's lease.
                ready = self._wanted - self._under_way
                self._wanted -= ready
                self._under_way |= ready
                for agent in ready:
                    group.create_task(self._send(agent), name=f"plan of {agent}")

    async def _until_wanted(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._is_wanted.wait()
        except TimeoutError:
            return
        self._is_wanted.clear()

    async def _send(self, agent: str) -> None:
        """While all is stopped it is told that first, as it may have missed the order, and gets no lease."""
        if agent in self._estate.agents:
            if stopped := self._stopped():
                await self._post(agent, Stop(reason=stopped))
            topology = self._estate.topology
            hard, lease_s = topology.probing, OVER if self._stopped() else LEASE_S
            plan = Plan(
                digest=topology.digest, rate_pps=hard.rate_pps, flows=hard.flows, lease_s=lease_s, trust=self._trust()
            )
            await self._post(agent, plan)
        self._under_way.discard(agent)
