"""How large a plan is before it is made: a file of 90 KiB can ask for more than a coordinator can hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from reachability.plan import hosts_of, owned_addresses
from reachability.sides import UNKNOWN, family_of
from reachability.topology import Topology
from reachability.vocabulary import Protocol

MOST_TARGETS = 3_000_000  # 700 MB, and as many rows to be judged


def plan_size(
    topology: Topology, addresses: Mapping[str, tuple[str, ...]], leads_to: Mapping[str, tuple[str, ...]]
) -> int:
    """How many targets `build_plan` makes of the same."""
    environments = topology.environments.values()
    owned = {name: owned_addresses(e, name, addresses) for e in environments for name in e.agents}
    hosts = {e.name: Counter(family_of(host.address) for host in hosts_of(e, owned, leads_to)) for e in environments}
    everywhere: Counter[int] = sum(hosts.values(), Counter())
    pairs = 0
    for source in environments:
        others = everywhere - hosts[source.name]
        for agent in source.agents:
            ways = Counter(map(family_of, owned[agent]))
            pairs += sum(count * (ways[kind] if ways and kind != UNKNOWN else 1) for kind, count in others.items())
    return pairs * len(Protocol)


def too_large(topology: Topology) -> str:
    """What is wrong with a topology whose plan is beyond `MOST_TARGETS`, in words and with its sum; "" for any other."""
    size = plan_size(topology, {}, {})
    if size <= MOST_TARGETS:
        return ""
    agents = len(topology.agents())
    hosts = len({host for e in topology.environments.values() for s in e.services.values() for host in s.hosts})
    return (
        f"its plan has {size:,} targets, of {agents:,} agents that try the hosts of each other and {hosts:,} hosts of services "
        f"with {len(Protocol)} protocols; the most is {MOST_TARGETS:,}: name fewer hosts, or fewer agents that try them all"
    )
