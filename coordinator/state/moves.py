"""Where each agent was known to be, and what stands for the last move into or out of an environment; kept in the store."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2s

from coordinator.store import Store
from reachability.layout import moved
from reachability.topology import Topology


@dataclass(frozen=True, slots=True)
class Known:
    """`homes`: agent to its environment, also of one that is in no topology any more; `last`: as `Moves.after` has it."""

    homes: Mapping[str, str] = field(default_factory=dict)
    last: Mapping[str, str] = field(default_factory=dict)


class Moves:
    """An agent that was taken out is remembered: elsewhere it may come back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._chance = secrets.token_hex(4)  # else moves that a full disk lost would come again after a restart
        self._known = self._stored = store.get("moves", Known, Known())

    @property
    def last(self) -> Mapping[str, str]:
        """Environment to a text that another move replaces; no entry where none is known."""
        return self._known.last

    def after(self, topology: Topology) -> Mapping[str, str]:
        """The same once that topology is in force, however often it is asked.

        A text stands for a move, for all before it and for this process: none comes twice.
        """
        homes, last = self._known.homes, self._known.last
        return {**last, **{name: self._text(last.get(name, ""), who) for name, who in moved(homes, topology).items()}}

    def take(self, topology: Topology) -> None:
        """A topology is in force; `write` follows."""
        self._known = Known({**self._known.homes, **topology.agents()}, self.after(topology))

    def write(self) -> bool:
        """What memory has and the store does not; False when there is nothing."""
        if self._known == self._stored:
            return False
        self._store.put("moves", self._known)
        self._stored = self._known
        return True

    def _text(self, before: str, agent: str) -> str:
        return blake2s(f"{self._chance} {before} {agent}".encode(), digest_size=4).hexdigest()
