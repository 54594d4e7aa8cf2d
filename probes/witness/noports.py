"""What the host's stack did with groups of copies: its counters in the slots in which they arrived, and in between.

The source sends a group in slots that the round's key tells, and pauses after each. A slot is what lies between the last reading
before its first copy and the first one well after its last; the rest between two slots of a group is an off-slot. Slots that no
reading divides are one. `reachability.delivery` says what that shows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from probes.clock import ahead
from probes.host.deliveries import Deliveries
from reachability.arrival import CounterSlot, NoPortsGroup
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.topology import family

BEFORE_S, AFTER_S = (
    0.005,
    0.06,
)  # of the copies: clocks are compared to a millisecond; the stack may take a packet up later
MOST_READINGS = 50_000  # a quarter of an hour: what comes later is told nothing of
STEADY_S = 0.002  # by so much the wall clock, which stamps packets, may move against the one that stamps readings
SHARE = 0.5  # of the slots in which copies of a port have to arrive


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters by address family, read at some moment from `began` to `ended` (monotonic seconds)."""

    began: float
    ended: float
    counters: Mapping[int, Deliveries]
    ahead: float  # how far the wall clock was ahead of the monotonic one


@dataclass(slots=True)
class _Burst:
    """Copies of one group, with no reading between them."""

    group: int
    before: int  # place of the last reading before the first copy; -1: there is none
    last: float  # when the last copy came
    after: int = -1  # place of the first reading well after it
    arrived: int = 0
    ports: set[int] = field(default_factory=set)
    mixed: bool = False  # copies of another group came in the same slot
    steady: bool = True  # the clocks kept pace from the reading before it until its copies were looked at

    @property
    def is_whole(self) -> bool:
        """Whether the counters are known before and after its copies alone."""
        return self.steady and not self.mixed and self.before >= 0 and self.after >= 0


class Groups:
    """The groups of a NoPorts round."""

    def __init__(
        self,
        groups: Sequence[tuple[int, PortSet]],
        targets: Sequence[Target],
        first: Reading,
        ahead: Callable[[], float] = ahead,
    ) -> None:
        """`first` was read when the round was armed; `ahead` as that of a reading, right now."""
        self._ahead = ahead
        self._families = {target.id: family(target.address) for target in targets}
        self._groups = [(target, ports) for target, ports in groups if target in self._families]
        self._index = {(target, port): n for n, (target, ports) in enumerate(self._groups) for port in ports}
        self._came: list[Counter[int]] = [Counter() for _ in self._groups]  # port -> slots in which a copy came
        self._readings = [first]
        self._bursts: list[_Burst] = []
        self._ended = False

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._groups)

    def take(self, target: int, port: int, at: float) -> None:
        """A copy with the round's token arrived."""
        group = self._index.get((target, port))
        if group is None:
            return
        if not self._bursts or self._is_over(self._bursts[-1], at):
            before = bisect_right(self._readings, at - BEFORE_S, key=attrgetter("ended")) - 1
            self._bursts.append(_Burst(group, before, at))
        burst = self._bursts[-1]
        burst.mixed |= burst.group != group
        burst.last = max(burst.last, at)
        burst.arrived += 1
        burst.ports.add(port)

    def read(self, reading: Reading) -> None:
        """Take a reading of the counters."""
        if len(self._readings) < MOST_READINGS and not self._ended:
            self._readings.append(reading)

    def end(self) -> None:
        """That was the last reading: nothing tells whether all that came before a later one has been handed over."""
        self._ended = True

    def rows(self) -> tuple[NoPortsGroup, ...]:
        """What is known of each group of which copies came; all that came before the last reading has to be handed over."""
        if self._bursts:
            self._end(self._bursts[-1])
        slots: list[list[CounterSlot]] = [[] for _ in self._groups]
        for number, burst in enumerate(self._bursts):
            if not burst.is_whole:
                continue
            ip = self._families[self._groups[burst.group][0]]
            slots[burst.group].append(self._slot(ip, burst.before, burst.after, burst.arrived))
            following = self._bursts[number + 1] if number + 1 < len(self._bursts) else None
            if following is not None and following.group == burst.group and following.before > burst.after:
                slots[burst.group].append(self._slot(ip, burst.after, following.before))
        return tuple(
            self._row(target, came, tuple(found))
            for (target, _), came, found in zip(self._groups, self._came, slots, strict=True)
            if found
        )

    def _row(self, target: int, came: Mapping[int, int], slots: tuple[CounterSlot, ...]) -> NoPortsGroup:
        on = [slot for slot in slots if slot.arrived]
        ports = PortSet.of(port for port, times in came.items() if times >= SHARE * len(on))
        arrived, moved = sum(slot.arrived for slot in on), sum(slot.noports for slot in on)
        return NoPortsGroup(target=target, ports=ports, arrived=arrived, moved=moved, slots=slots)

    def _is_over(self, burst: _Burst, at: float) -> bool:
        """Whether a reading divides a copy that comes now from the last ones; then it is the one that ends these."""
        if at < burst.last + AFTER_S:
            return False
        place = self._first_after(burst)
        if place < 0 or self._readings[place].ended > at - BEFORE_S:
            return False
        self._end(burst)
        return True

    def _end(self, burst: _Burst) -> None:
        burst.after = self._first_after(burst)
        ahead = [self._ahead(), *(reading.ahead for reading in self._readings[max(0, burst.before) :])]
        burst.steady = max(ahead) - min(ahead) <= STEADY_S
        if burst.is_whole:
            self._came[burst.group].update(burst.ports)
        burst.ports.clear()

    def _first_after(self, burst: _Burst) -> int:
        place = bisect_left(self._readings, burst.last + AFTER_S, key=attrgetter("began"))
        return place if place < len(self._readings) else -1

    def _slot(self, ip: int, first: int, last: int, arrived: int = 0) -> CounterSlot:
        """From one reading to another, in which so many copies came."""
        before, after = self._readings[first], self._readings[last]
        moved = after.counters[ip].since(before.counters[ip])
        return CounterSlot(
            seconds=round(after.ended - before.ended, 4),
            arrived=arrived,
            noports=moved.noports,
            delivered=moved.delivered,
            forwarded=moved.forwarded,
        )
