"""Whether the host's UDP stack got a group of datagrams: its `Udp: NoPorts` counter, attributed by the pauses between groups.

The source sends group after group with a quarter of a second between them. A reading of the counter divides two groups when
it was taken well within the pause, seen from here; without such a reading both groups stay undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reachability.arrival import NoPortsGroup
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.topology import family

QUIET_S = 0.06  # before and after a reading: the kernel counts at once, but packets wait in the capture's queue


@dataclass(slots=True)
class Reading:
    """NoPorts, and the datagrams captured to ports without a socket, both by family, over all addresses of the host."""

    at: float
    noports: Mapping[int, int]
    unbound: Mapping[int, int]


@dataclass(slots=True)
class _Group:
    target: int
    ports: PortSet
    family: int
    arrived: int = 0
    before: Reading | None = None
    after: Reading | None = None
    mixed: bool = False  # packets of other groups came in between


class Groups:
    """The groups of a NoPorts round."""

    def __init__(self, groups: Sequence[tuple[int, PortSet]], targets: Sequence[Target], first: Reading) -> None:
        """`first` was read when the round was armed."""
        families = {target.id: family(target.address) for target in targets}
        self._groups = [_Group(target, ports, families[target]) for target, ports in groups if target in families]
        self._index = {(group.target, port): index for index, group in enumerate(self._groups) for port in group.ports}
        self._current: int | None = None
        self._last_at = first.at - QUIET_S
        self._reading: Reading | None = first

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._groups)

    def take(self, target: int, port: int, at: float) -> None:
        """A copy with the round's token arrived."""
        index = self._index.get((target, port))
        if index is None:
            return
        group = self._groups[index]
        if index != self._current:
            self._divide(index, at)
            self._current = index
        group.arrived += 1
        self._last_at, self._reading = at, None

    def read(self, reading: Reading) -> None:
        """Take a reading of the counter; the first one in a pause is kept."""
        if self._reading is None and reading.at >= self._last_at + QUIET_S:
            self._reading = reading

    def rows(self) -> tuple[NoPortsGroup, ...]:
        """What is known of each group. Call `read` before, with a reading of the round's end.

        `arrived` counts everything that should have moved the counter: other people's datagrams too, where they came in
        between, so that they never make a silent group look as if it had moved.
        """
        if self._current is not None:
            self._groups[self._current].after = self._reading
        rows = []
        for group in self._groups:
            if group.mixed or group.before is None or group.after is None or not group.arrived:
                continue
            moved = group.after.noports.get(group.family, 0) - group.before.noports.get(group.family, 0)
            unbound = group.after.unbound.get(group.family, 0) - group.before.unbound.get(group.family, 0)
            arrived = max(group.arrived, unbound)
            rows.append(NoPortsGroup(target=group.target, ports=group.ports, arrived=arrived, moved=moved))
        return tuple(rows)

    def _divide(self, index: int, at: float) -> None:
        """A packet of a group other than the last one came."""
        group = self._groups[index]
        divides = self._reading is not None and at >= self._reading.at + QUIET_S
        boundary = self._reading if divides else None
        if self._current is not None:
            self._groups[self._current].after = boundary
        if group.before is not None or group.arrived:
            group.mixed = True
        group.before = boundary
