"""Who is inside an environment and who outside, in a few characters: the controls of what was proven lean on it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2s

from reachability.topology import Topology


def layout_of(topology: Topology, source: str, destination: str, moves: Mapping[str, str]) -> str:
    """Of a pair of environments; `moves` as `inside_of` has it."""
    return inside_of(topology, source, moves) + inside_of(topology, destination, moves)


def inside_of(topology: Topology, environment: str, moves: Mapping[str, str]) -> str:
    """Another one where its networks are others, or an agent came into it or left it for another environment.

    `moves`: environment to what stands for the last such agent; no entry where there was none.
    """
    networks = ",".join(sorted(map(str, topology.environments[environment].networks)))
    return blake2s(f"{networks} {moves.get(environment, '')}".encode(), digest_size=4).hexdigest()


def moved(homes: Mapping[str, str], topology: Topology) -> dict[str, str]:
    """The environments that an agent comes into or leaves, each with one; `homes`: agent to the one where it was known."""
    moves = {agent: (homes.get(agent, name), name) for agent, name in topology.agents().items()}
    return {name: agent for agent, (old, new) in moves.items() if old != new for name in (old, new)}
