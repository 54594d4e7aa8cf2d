"""Where each agent was known to be, and what stands for the last move into or out of an environment; kept in the store."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from coordinator.store import Store
from reachability.layout import moved
from reachability.topology import Topology


@dataclass(frozen=True, slots=True)
class Known:
    """`homes`: agent to its environment, also of one that is in no topology any more; `last`: as `Moves.last`."""

    homes: Mapping[str, str] = field(default_factory=dict)
    last: Mapping[str, str] = field(default_factory=dict)


class Moves:
    """An agent that was taken out is remembered: elsewhere it may come back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known = self._stored = store.get("moves", Known, Known())

    @property
    def last(self) -> Mapping[str, str]:
        """Environment to a text that another move replaces; no entry where none is known."""
        return self._known.last

    def take(self, topology: Topology) -> None:
        """A topology is in force; `write` follows. Chance stands for a move: a number that a full disk lost would come again."""
        last = {name: secrets.token_hex(4) for name in moved(self._known.homes, topology)}
        self._known = Known({**self._known.homes, **topology.agents()}, {**self._known.last, **last})

    def write(self) -> bool:
        """What memory has and the store does not; False when there is nothing."""
        if self._known == self._stored:
            return False
        self._store.put("moves", self._known)
        self._stored = self._known
        return True
