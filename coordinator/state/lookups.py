"""What names of other environments resolved to, as each agent sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coordinator.store import Store
from reachability.observation import Lookup
from reachability.topology import Topology, is_address


def names_for(topology: Topology, environment: str) -> tuple[str, ...]:
    """DNS names of other environments, which agents of this one have to look up."""
    return tuple(
        dict.fromkeys(
            host
            for other in topology.environments.values()
            if other.name != environment
            for service in other.services.values()
            for host in service.hosts
            if not is_address(host)
        )
    )


class Lookups:
    """The newest of each agent and name, in memory and in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, dict[str, Lookup]] = store.lookups()

    def of(self, agent: str) -> Mapping[str, Lookup]:
        """Those of one agent."""
        return self._known.get(agent, {})

    def addresses(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Agent to name to addresses."""
        return {
            agent: {name: lookup.addresses for name, lookup in found.items()} for agent, found in self._known.items()
        }

    def take(self, agent: str, asked: Sequence[str], lookups: Sequence[Lookup]) -> tuple[Lookup, ...]:
        """Those that an agent was asked for, where anything is new about them; else nothing."""
        known = self._known.setdefault(agent, {})
        wanted = tuple(lookup for lookup in lookups if lookup.name in asked)
        if all(known.get(lookup.name) == lookup for lookup in wanted):
            return ()
        known.update({lookup.name: lookup for lookup in wanted})
        return wanted

    def forget(self, topology: Topology) -> dict[str, list[str]]:
        """Let go of names that are not asked for any more; agent to those."""
        agents = topology.agents()
        gone: dict[str, list[str]] = {}
        for agent, known in self._known.items():
            asked = names_for(topology, agents[agent]) if agent in agents else ()
            if old := [name for name in known if name not in asked]:
                gone[agent] = old
        for agent, old in gone.items():
            self._known[agent] = {name: found for name, found in self._known[agent].items() if name not in old}
        return gone
