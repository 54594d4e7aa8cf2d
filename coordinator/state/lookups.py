"""What DNS names lead to: what each agent sees, and the union of it, at which a name is probed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from coordinator.store import Store
from reachability.compare import STALE_PERIODS, key_of
from reachability.finding import FindingBook, Kind
from reachability.matrix import CellKey, Matrix
from reachability.observation import Lookup
from reachability.plan import PlanTarget
from reachability.topology import Topology, is_address, is_anothers
from reachability.vocabulary import Reachability

MOST_ADDRESSES = 256  # of a name; of more the newest are probed
MOST_TOLD = 3  # names that an agent sees in a way of its own

Needed = Callable[[str, str, Collection[str]], bool]


def names_of(topology: Topology) -> tuple[str, ...]:
    """Every DNS name of the topology. All agents are asked for all: those of its own environment know a host best."""
    return tuple(
        dict.fromkeys(
            host
            for environment in topology.environments.values()
            for service in environment.services.values()
            for host in service.hosts
            if not is_address(host)
        )
    )


class Lookups:
    """The newest of each agent and name, and when anybody last saw a name at an address; in memory and in the store."""

    def __init__(self, store: Store, now: float) -> None:
        self._store = store
        self._known: dict[str, dict[str, Lookup]] = store.lookups()
        kept = store.get("names", dict[str, tuple[str, ...]], {})
        for found in self._known.values():  # a store of before has no union
            for name, lookup in found.items():
                kept[name] = tuple(dict.fromkeys((*kept.get(name, ()), *lookup.addresses)))
        self._seen = {name: dict.fromkeys(addresses, now) for name, addresses in kept.items()}
        self._unsaved: dict[str, tuple[Lookup, ...]] = {}
        self._forgotten: dict[str, list[str]] = {}
        self._stored = self.leads_to()

    def of(self, agent: str) -> Mapping[str, Lookup]:
        """Those of one agent."""
        return self._known.get(agent, {})

    def leads_to(self) -> dict[str, tuple[str, ...]]:
        """Name to its addresses, whoever saw them: in the order in which they were first seen."""
        return {name: tuple(seen) for name, seen in self._seen.items()}

    def take(self, agent: str, asked: Sequence[str], lookups: Sequence[Lookup], now: float) -> bool:
        """What an agent says of names that it was asked for; whether one has an address more.

        An agent that finds nothing, or something else, takes nothing away: others may see it, and it may rotate.
        """
        before, names = self.leads_to(), set(asked)
        wanted = {lookup.name: lookup for lookup in lookups if lookup.name in names}
        known = self._known.setdefault(agent, {})
        if new := tuple(lookup for name, lookup in wanted.items() if not _alike(known.get(name), lookup)):
            self._unsaved[agent] = (*self._unsaved.get(agent, ()), *new)
        known.update(wanted)
        for name, lookup in wanted.items():
            seen = self._seen.setdefault(name, {})
            seen.update(dict.fromkeys(lookup.addresses, now))
            for address in sorted(seen, key=lambda one: seen[one])[: max(0, len(seen) - MOST_ADDRESSES)]:
                del seen[address]
        return self.leads_to() != before

    def settle(self, before: float, needed: Needed) -> bool:
        """Let go of addresses that nobody has seen since `before` (epoch seconds) and that nothing needs; whether any went."""
        gone = []
        for name, seen in self._seen.items():
            current = {address for address, at in seen.items() if at >= before}
            old = (
                [address for address in seen if address not in current] if current else []
            )  # else it is DNS that is away
            gone += [(name, address) for address in old if not needed(name, address, current)]
        for name, address in gone:
            del self._seen[name][address]
        return bool(gone)

    def shift(self, seconds: float) -> None:
        """The clock was set by this much."""
        self._seen = {name: {one: at + seconds for one, at in seen.items()} for name, seen in self._seen.items()}

    def forget(self, topology: Topology) -> None:
        """Let go of names that are not asked for any more, and of what agents saw that are gone."""
        agents, names = topology.agents(), set(names_of(topology))
        for agent, known in self._known.items():
            if old := [name for name in known if agent not in agents or name not in names]:
                self._forgotten[agent] = old
                self._known[agent] = {name: found for name, found in known.items() if name not in old}
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}

    def write(self) -> bool:
        """What memory has and the store does not; False when there is nothing."""
        leads_to = self.leads_to()
        if not (self._unsaved or self._forgotten or leads_to != self._stored):
            return False
        for agent, lookups in self._unsaved.items():
            self._store.put_lookups(agent, lookups)
        for agent, names in self._forgotten.items():
            self._store.forget_lookups(agent, names)
        if leads_to != self._stored:
            self._store.put("names", leads_to)
        self._unsaved, self._forgotten, self._stored = {}, {}, leads_to
        return True

    def apart(self, agents: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Of each of these agents: where it sees a name at other addresses than others do, in words; of many, the first."""
        told: dict[str, list[str]] = {agent: [] for agent in agents}
        for name in self._seen:
            groups: dict[tuple[str, ...], list[str]] = {}
            for agent in told:
                if (mine := self._to_others(agent, name)) is not None:
                    groups.setdefault(mine, []).append(agent)
            for seen, group in groups.items() if len(groups) > 1 else ():
                others = [
                    f"{', '.join(who)}: {_said(addresses)}" for addresses, who in groups.items() if who is not group
                ]
                for agent in group:
                    told[agent].append(f"{name} is {_said(seen)} ({'; '.join(others)})")
        return {agent: _shortened(words) for agent, words in told.items()}

    def _to_others(self, agent: str, name: str) -> tuple[str, ...] | None:
        """What an agent sees that others can see, too; None where it was not asked, or has an address of its own for itself."""
        lookup = self.of(agent).get(name)
        if lookup is None:
            return None
        seen = tuple(sorted(filter(is_anothers, lookup.addresses)))
        return seen if seen or not lookup.addresses else None


def _alike(known: Lookup | None, lookup: Lookup) -> bool:
    """A TTL counts down, and is no news to the store."""
    return known is not None and replace(known, ttl_s=lookup.ttl_s) == lookup


def _shortened(words: Sequence[str]) -> tuple[str, ...]:
    more = [f"{len(words) - MOST_TOLD} more names"] if len(words) > MOST_TOLD else []
    return (*words[:MOST_TOLD], *more)


def _said(addresses: Sequence[str]) -> str:
    return ", ".join(addresses) or "not known"


def oldest_fresh(topology: Topology, now: float) -> float:
    """From when on a name's address counts as one that it has now: before, what was observed there is stale."""
    return now - STALE_PERIODS * topology.probing.every_s


def needed_by(plan: Sequence[PlanTarget], matrix: Matrix, book: FindingBook) -> Needed:
    """Whether an address that its name has no more is still to be probed.

    It is while somebody has not yet tried one that the name has now, and while it still shows the hole of a finding: moving
    a name closes nothing.
    """
    leaking = cache(lambda: {key.address for key in _leaking(matrix, book)})

    def needed(name: str, address: str, current: Collection[str]) -> bool:
        mine = (
            target for target in plan if name in target.names and target.address in current and not target.elsewhere
        )
        return address in leaking() or any(not matrix.rows(key_of(target)) for target in mine)

    return needed


def _leaking(matrix: Matrix, book: FindingBook) -> Iterator[CellKey]:
    crossed = {Reachability.REACHABLE, Reachability.ONE_WAY}
    for finding in book.findings:
        for region in finding.regions if finding.live and finding.kind is Kind.UNEXPECTED_PATH else ():
            rows = matrix.rows(region.key)
            if any(judged.verdict.reachability in crossed for ports, judged in rows if ports & region.ports):
                yield region.key
