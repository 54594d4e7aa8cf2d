"""While the CA is rotated: which agents have come over, by what their statuses say."""

from __future__ import annotations

from dataclasses import replace

from coordinator.broker.rotation import Rotation
from coordinator.state.roster import AgentState


def follow(rotation: Rotation, agents: dict[str, AgentState]) -> None:
    """Keep who of them has come over to the new CA, and have each say what it lacks."""
    rotation.keep({name: (agent.ca, agent.trust) for name, agent in agents.items() if agent.instance})
    for name, agent in agents.items():
        if agent.rotation != (lacks := rotation.lacks(name)):
            agents[name] = replace(agent, rotation=lacks)
