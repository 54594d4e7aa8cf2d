"""What was observed under one topology, judged by another that is not in force: what it still shows, and what would change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from reachability.compare import UNSCHEDULED_S, Cell, compare
from reachability.layout import moved
from reachability.matrix import CellKey, Matrix
from reachability.overlay import overlay
from reachability.plan import PlanTarget
from reachability.ports import PortSet
from reachability.topology import Network, Topology


@dataclass(frozen=True, slots=True)
class Change:
    """Ports of a key whose result is another one. None: nothing there is probed under that topology."""

    ports: PortSet
    before: Cell | None
    after: Cell | None

    @property
    def cell(self) -> Cell:
        """The one that there is, the new one first."""
        found = self.after or self.before
        assert found is not None
        return found


class Supposed:
    """`proposed` in the place of `held`, which was in force when all was observed."""

    def __init__(self, held: Topology, proposed: Topology) -> None:
        self._held, self._agents, self._proposed = held, held.agents(), proposed
        self._moved = moved(self._agents, proposed)

    def why_not(self, target: PlanTarget) -> str:
        """Why nothing that was observed of a target counts under the proposed topology; "" where it does.

        Its controls leaned on who is inside an environment, and who outside.
        """
        agent, source = target.agent, target.source_environment
        before = self._agents.get(agent)
        if before is None:
            return f"agent '{agent}' is not in the topology in force: nobody has sent anything from there"
        if before != source:
            return f"agent '{agent}' is in '{before}' now: what it sent left another environment"
        for name in (source, target.destination):
            if name in self._moved:
                return f"agent '{self._moved[name]}' changes its environment: what was shown of '{name}' leaned on where it is"
            if self._networks(self._held, name) != self._networks(self._proposed, name):
                return f"'{name}' has other networks now: what was shown of it leaned on what is inside it"
        return ""

    @staticmethod
    def _networks(topology: Topology, name: str) -> set[Network]:
        return set(topology.environments[name].networks) if name in topology.environments else set()

    def cells(self, plan: Iterable[PlanTarget], matrix: Matrix, now: datetime) -> tuple[Cell, ...]:
        """Every cell of the proposed plan; what does not count is not-run. Nothing is fresh that is stale as it is."""
        mine, theirs = self._proposed.probing, self._held.probing
        sweeps = min(probing.sweep_every_s or UNSCHEDULED_S for probing in (mine, theirs))
        probing = replace(mine, every_s=min(mine.every_s, theirs.every_s), sweep_every_s=sweeps)
        counts: dict[bool, list[PlanTarget]] = {True: [], False: []}
        for target in plan:
            counts[not self.why_not(target)].append(target)
        strict = replace(self._proposed, probing=probing)
        return compare(strict, counts[True], matrix, now) + compare(strict, counts[False], Matrix(), now)


def changes(before: Iterable[Cell], after: Iterable[Cell]) -> Iterator[Change]:
    """Cells that come out otherwise; what is probed under one of the two alone, too."""
    old, new = _by_key(before), _by_key(after)
    for key in {**new, **old}:
        was, becomes = old.get(key, ()), new.get(key, ())
        layers = [[(cell.ports, number) for number, cell in enumerate(side)] for side in (was, becomes)]
        for ports, (first, second) in overlay(PortSet.union(cell.ports for cell in (*was, *becomes)), *layers):
            change = Change(ports, None if first is None else was[first], None if second is None else becomes[second])
            if change.before is None or change.after is None or change.before.result is not change.after.result:
                yield change


def _by_key(cells: Iterable[Cell]) -> dict[CellKey, Sequence[Cell]]:
    found: dict[CellKey, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.key, []).append(cell)
    return dict(found)
