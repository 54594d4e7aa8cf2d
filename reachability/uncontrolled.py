"""Environments of which nothing shows that packets of a protocol get out: what that leaves unproven, and what would show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reachability.compare import Cell
from reachability.sides import FAMILIES, Sides, family_of
from reachability.vocabulary import Protocol, Result, Unproven

OTHERWISE_SHOWN = Protocol.TCP  # by the agents' own connection: its broker answers
RULE: Mapping[Protocol, str] = {
    Protocol.TCP: "TCP at the broker's port",
    Protocol.UDP: "UDP at the number of the broker's port",
    Protocol.ICMP: "echo requests",
}


@dataclass(frozen=True, slots=True)
class Uncontrolled:
    """An environment and the protocols; `cells` of the `required` cells of all environments depend on it."""

    environment: str
    protocols: tuple[Protocol, ...]
    cells: int
    required: int

    @property
    def share(self) -> float:
        """Of the coverage, 0..1."""
        return self.cells / self.required if self.required else 0.0

    @property
    def names(self) -> str:
        """The protocols in words: `UDP and ICMP`."""
        return " and ".join(protocol.value.upper() for protocol in self.protocols)

    @property
    def settle(self) -> str:
        """The rule, or the path, that would show it."""
        rules = " and ".join(RULE[protocol] for protocol in self.protocols)
        return (
            f"let its agents through to the coordinator with {rules}, or declare what else the firewall lets them reach "
            f"over {self.names} on a host with an agent"
        )


def by_declaration(sides: Sides) -> tuple[Uncontrolled, ...]:
    """Where no path shows it: all then hangs on the firewall's letting packets through to the coordinator."""
    shown = {
        (environment, protocol)
        for path in sides.topology.paths
        for protocol in Protocol
        for environment in sides.shows(path, protocol)
    }
    asked = _asked(sides)
    lacking = {key: cells for key, cells in asked.items() if key not in shown and key[1] is not OTHERWISE_SHOWN}
    return _folded(lacking, sum(asked.values()))


def _asked(sides: Sides) -> dict[tuple[str, Protocol], int]:
    """How many cells of a protocol must be proven from an environment: of all others, whatever is its own taken off."""
    of: dict[str, Counter[tuple[int, Protocol]]] = {}
    for name, hosts in sides.hosts.items():
        of[name] = Counter()
        for host in hosts:
            for protocol in Protocol:
                of[name][family_of(host.address), protocol] += len(sides.required(protocol, host))
    total: Counter[tuple[int, Protocol]] = Counter()
    for mine in of.values():
        total.update(mine)
    return {
        (name, protocol): sum(
            source.towards(kind) * (total[kind, protocol] - of[name][kind, protocol])
            for source in sources
            for kind in FAMILIES
        )
        for name, sources in sides.sources.items()
        for protocol in Protocol
    }


def by_outcome(cells: Iterable[Cell]) -> tuple[Uncontrolled, ...]:
    """Where nothing showed it, by the reason of cells that must be proven."""
    lacking: dict[tuple[str, Protocol], int] = {}
    required = 0
    for cell in cells:
        if not cell.required:
            continue
        required += cell.count
        if (
            cell.result is Result.INCONCLUSIVE
            and cell.judged
            and cell.judged.verdict.reason == Unproven.NO_SOURCE_CONTROL
        ):
            key = cell.source_environment, cell.key.protocol
            lacking[key] = lacking.get(key, 0) + cell.count
    return _folded(lacking, required)


def _folded(lacking: Mapping[tuple[str, Protocol], int], required: int) -> tuple[Uncontrolled, ...]:
    environments: dict[str, dict[Protocol, int]] = {}
    for (environment, protocol), cells in lacking.items():
        if cells:
            environments.setdefault(environment, {})[protocol] = cells
    return tuple(
        Uncontrolled(
            environment, tuple(protocol for protocol in Protocol if protocol in cells), sum(cells.values()), required
        )
        for environment, cells in environments.items()
    )
