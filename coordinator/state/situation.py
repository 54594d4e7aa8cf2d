"""What the coordinator knows, as advice wants it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from coordinator.state.estate import Estate
from coordinator.state.roster import AgentState
from reachability.blackout import active_blackout, in_words
from reachability.situation import AgentFacts, Situation
from reachability.topology import Topology


def situation_of(topology: Topology, agents: Iterable[AgentState], *, in_run: bool = False) -> Situation:
    """What was known of these agents under this topology."""
    facts = {agent.name: AgentFacts(state=agent.state, reported=agent.addresses, lacks=agent.lacks) for agent in agents}
    return Situation(topology=topology, agents=facts, in_run=in_run)


def situation_now(estate: Estate) -> Situation:
    """What is known now."""
    known = situation_of(estate.topology, estate.agents.values())
    window = active_blackout(estate.topology.probing.blackout, estate.now())
    return known if window is None else replace(known, blackout=in_words(window))
