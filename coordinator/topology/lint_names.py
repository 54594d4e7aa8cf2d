"""What agents' answers about a topology's names make doubtful: a name that one environment alone knows, or that anything is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coordinator.topology.lint import Warned
from reachability.observation import Lookup
from reachability.topology import Service, Topology

Seen = Mapping[str, Mapping[str, Lookup]]  # name to agent to what it sees


def lint_names(topology: Topology, seen: Seen) -> list[Warned]:
    """In the order of the file; of agents that the topology does not have, nothing."""
    environment_of = topology.agents()
    found = []
    for service, name in _named(topology):
        here = {agent: lookup for agent, lookup in seen.get(name, {}).items() if agent in environment_of}
        messages = (*_alone(name, service, here, environment_of), *_wild(name, service, here))
        found += [Warned(service.mark.line, service.mark.column, message) for message in messages]
    return sorted(set(found))


def _named(topology: Topology) -> Iterator[tuple[Service, str]]:
    for environment in topology.environments.values():
        for service in environment.services.values():
            yield from ((service, host) for host in service.hosts)


def _alone(name: str, service: Service, here: Mapping[str, Lookup], environment_of: Mapping[str, str]) -> Iterator[str]:
    asked = dict.fromkeys(environment_of[agent] for agent in here)
    knows = dict.fromkeys(environment_of[agent] for agent, lookup in here.items() if lookup.addresses)
    if len(knows) != 1 or len(asked) == 1:
        return
    (only,) = knows
    agents = ", ".join(agent for agent, lookup in here.items() if lookup.addresses)
    others = ", ".join(f"'{one}'" for one in asked if one != only)
    yield (
        f"host '{name}' of '{service.name}' resolves in '{only}' alone (for {agents}), and not in {others}: where it is tested "
        f"is the word of '{only}'; declare its addresses, or have the others resolve it too"
    )


def _wild(name: str, service: Service, here: Mapping[str, Lookup]) -> Iterator[str]:
    wildcards = dict.fromkeys(lookup.wildcard for lookup in here.values() if lookup.wildcard)
    for wildcard in wildcards:
        agents = ", ".join(agent for agent, lookup in here.items() if lookup.wildcard == wildcard)
        yield (
            f"host '{name}' of '{service.name}' is answered by the wildcard {wildcard} (for {agents}): a misspelt name leads "
            "there too; see that it is the host you mean"
        )
