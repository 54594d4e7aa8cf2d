"""Puts topologies in force: the plan is made in a thread before, for nobody may wait for it."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from coordinator.state.planning import Known, Plan, plan_of
from coordinator.topology.document import Problem
from coordinator.topology.load import TopologyErrors
from reachability.topology import Topology

TRIES = 3

log = structlog.get_logger("estate")


class Planned(Protocol):
    """The estate, as far as it is planned."""

    def known(self, topology: Topology) -> Known:
        """What agents and resolvers have said until now, and who moves by this topology; a value that nobody changes."""

    def take_topology(self, topology: Topology, plan: Plan | None = None) -> None:
        """It is in force from now on, with its plan."""


async def planned(topology: Topology, estate: Planned) -> Plan:
    """The plan, made in a thread, by what is known when it is done; TopologyErrors where it cannot be made."""
    try:
        for _ in range(TRIES):
            known = estate.known(topology)
            plan = await asyncio.to_thread(plan_of, topology, known)
            if estate.known(topology) == known:
                return plan
        return plan_of(topology, estate.known(topology))  # somebody says something else all the time
    except Exception as error:  # of a file that loads: a coordinator that runs goes on as it is
        log.exception("a plan cannot be made", file=topology.file)
        raise TopologyErrors(topology.file, [Problem(0, 0, _why(error))]) from error


def _why(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "its plan cannot be made: there is too little memory; name fewer hosts, or give the coordinator more"
    return f"its plan cannot be made, a fault in segwatch, please report it: {type(error).__name__}: {error}"


async def put_in_force(topology: Topology, estate: Planned) -> None:
    """Until the plan is made, what was in force before is; TopologyErrors where it cannot be made."""
    estate.take_topology(topology, await planned(topology, estate))
