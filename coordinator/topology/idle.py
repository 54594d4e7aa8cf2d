"""Which paths of a topology no agent can observe: each end is looked for once, among the hosts of its own environment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from reachability.plan import PlanTarget
from reachability.policy import is_destination, is_source
from reachability.topology import Path, Selector, Topology, family

_Source = tuple[str, str, int]  # environment, agent and family of its address, 0 where none is known
_Destination = tuple[str, int]  # environment and family of the address, 0 for a name


def idle_paths(topology: Topology, plan: Iterable[PlanTarget]) -> Iterator[Path]:
    """The paths between whose ends the plan has no target.

    Paths times targets would grow with the square of the file, and worse: whether two ends meet in the plan depends on their
    environments and families alone.
    """
    ends = _Ends(topology, plan)
    return (path for path in topology.paths if not ends.meet(path.source, path.destination))


class _Ends:
    """The ends of a plan's targets, each once, by environment."""

    def __init__(self, topology: Topology, plan: Iterable[PlanTarget]) -> None:
        self._topology = topology
        sources: dict[tuple[str, ...], PlanTarget] = {}
        destinations: dict[tuple[object, ...], PlanTarget] = {}
        families: dict[str, int] = {}
        self._pairs: dict[_Source, set[_Destination]] = defaultdict(set)
        for target in plan:
            sources.setdefault((target.agent, target.source_address), target)
            destinations.setdefault((target.destination, target.address, target.names), target)
            for address in (target.source_address, target.address):
                if address not in families:
                    families[address] = _family(address)
            source = (target.source_environment, target.agent, families[target.source_address])
            self._pairs[source].add((target.destination, families[target.address]))
        self._by_source: dict[str, list[PlanTarget]] = defaultdict(list)
        self._by_destination: dict[str, list[PlanTarget]] = defaultdict(list)
        for target in sources.values():
            self._by_source[target.source_environment].append(target)
        for target in destinations.values():
            self._by_destination[target.destination].append(target)
        self._sources: dict[Selector, set[_Source]] = {}
        self._destinations: dict[Selector, set[_Destination]] = {}

    def meet(self, source: Selector, destination: Selector) -> bool:
        """Whether a target leads from one to the other."""
        if source not in self._sources:
            self._sources[source] = {
                (target.source_environment, target.agent, _family(target.source_address))
                for target in _near(self._by_source, source.environment)
                if is_source(self._topology, source, target)
            }
        if destination not in self._destinations:
            self._destinations[destination] = {
                (target.destination, _family(target.address))
                for target in _near(self._by_destination, destination.environment)
                if is_destination(self._topology, destination, target)
            }
        there = self._destinations[destination]
        return any(not self._pairs[one].isdisjoint(there) for one in self._sources[source])


def _near(ends: dict[str, list[PlanTarget]], environment: str) -> Iterator[PlanTarget]:
    """Those of one environment; of all where it is ""."""
    for name in [environment] if environment else list(ends):
        yield from ends.get(name, ())


def _family(address: str) -> int:
    try:
        return family(address)
    except ValueError:
        return 0
