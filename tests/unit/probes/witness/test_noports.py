"""The host's counters told apart by slots: what moved while copies of a group came in, and what moved in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import msgspec

from probes.host.counters import HostFacts
from probes.host.deliveries import Deliveries
from probes.packets.parse import Packet
from probes.packets.token import token
from probes.witness.noports import Groups, Reading
from probes.witness.readings import Stop
from probes.witness.witness import Witness
from reachability.arrival import NoPortsGroup
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, RoundKind
from tests.support.witness import ECHO_REPLY, HERE, KEY, PORT, SOURCE, arm, new_witness, packet, witness_of

TICK_S = 0.02
LOW, HIGH = PortSet.parse("100-104"), PortSet.parse("105-109")
TARGET = Target(id=2, environment="prod", address="10.30.0.10", protocol=Protocol.UDP, ports=LOW | HIGH)


class Host:
    """A host whose counters are read each 20 ms, and what arrives at it: `at` is seconds since it was armed."""

    def __init__(self, *groups: PortSet, counted: Callable[[int], bool] = lambda _: False, noise: int = 0) -> None:
        """`counted`: ports of which each copy moves NoPorts; `noise`: datagrams of others a second that do."""
        self.counted, self.noise, self.now = counted, noise, 0.0
        self.noports = 0
        self.ahead = 1e9
        self.groups = Groups([(2, ports) for ports in groups], (TARGET,), self.reading(), lambda: self.ahead)

    def reading(self) -> Reading:
        counters = Deliveries(noports=self.noports + int(self.now * self.noise))
        return Reading(self.now, self.now + 0.001, {4: counters, 6: Deliveries()}, self.ahead)

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += TICK_S
            self.groups.read(self.reading())

    def burst(self, ports: PortSet, *, lost: PortSet | None = None) -> None:
        """A copy a port, from now on in some milliseconds; the capture hands them over at once."""
        for port in ports - (lost or PortSet()):
            self.now += 0.001
            self.groups.take(2, port, self.now)
            self.noports += self.counted(port)

    def on_slots(self, ports: PortSet, times: int = 4) -> None:
        for _ in range(times):
            self.wait(0.25)
            self.burst(ports)
        self.wait(0.25)


def test_each_slot_has_what_moved_with_its_copies_and_the_stretch_after_it() -> None:
    host = Host(LOW, HIGH, counted=HIGH.__contains__)
    host.on_slots(LOW)
    host.on_slots(HIGH)
    low, high = host.groups.rows()
    assert (low.ports, low.arrived, low.moved) == (LOW, 20, 0)
    assert (high.ports, high.arrived, high.moved) == (HIGH, 20, 20)
    for row, noports in ((low, 0), (high, 5)):
        assert [(s.arrived, s.noports) for s in row.slots] == [(5, noports), (0, 0)] * 3 + [(5, noports)]
        assert all(0.05 < s.seconds < 0.3 for s in row.slots)


def test_noise_shows_between_the_slots_as_in_them() -> None:
    host = Host(LOW, noise=100)
    host.on_slots(LOW)
    [row] = host.groups.rows()
    assert all(s.noports / s.seconds > 50 for s in row.slots), row
    assert {s.arrived for s in row.slots} == {0, 5}


def test_copies_of_two_groups_with_no_reading_between_them_tell_of_neither() -> None:
    host = Host(LOW, HIGH)
    host.wait(0.25)
    host.burst(LOW)
    host.burst(HIGH)
    host.on_slots(HIGH, 1)
    [row] = host.groups.rows()
    assert row.ports == HIGH
    assert [s.arrived for s in row.slots] == [5]


def test_copies_of_one_group_with_no_reading_between_them_are_of_one_slot() -> None:
    host = Host(LOW)
    host.wait(0.25)
    host.burst(LOW)
    host.now += 0.3  # the agent is busy and reads nothing
    host.burst(LOW)
    host.wait(0.25)
    [row] = host.groups.rows()
    assert [s.arrived for s in row.slots] == [10]


def test_a_reading_while_copies_still_come_divides_nothing() -> None:
    host = Host(LOW)
    host.wait(0.25)
    host.burst(PortSet.parse("100-102"))
    host.groups.read(host.reading())
    host.burst(PortSet.parse("103-104"))
    host.wait(0.25)
    [row] = host.groups.rows()
    assert [s.arrived for s in row.slots] == [5]


def test_a_port_of_which_few_copies_came_is_not_told_of() -> None:
    host = Host(LOW)
    for lost in ("100", "100", "100,101", "101"):
        host.wait(0.25)
        host.burst(LOW, lost=PortSet.parse(lost))
    host.wait(0.25)
    [row] = host.groups.rows()
    assert row.ports == LOW - PortSet.parse("100")


def test_without_a_reading_after_the_last_copies_they_tell_nothing_and_strangers_are_none() -> None:
    host = Host(LOW)
    host.wait(0.25)
    host.groups.take(2, 9999, host.now)
    host.groups.take(7, 100, host.now)
    assert host.groups.rows() == ()
    host.burst(LOW)
    assert host.groups.rows() == ()
    assert not Groups([(7, LOW)], (TARGET,), host.reading())


class Pulse:
    """A witness of one group whose counters are read each 20 ms of a clock of the test, whatever its loop does."""

    def __init__(self) -> None:
        self.now, self.read, self.stopped = 1.0, 0, False
        self.moved = {4: Deliveries(), 6: Deliveries()}
        self.copies = 0
        self._work: Callable[[], object] | None = None
        self.witness = new_witness()
        assert self.witness._deps is not None
        self.witness._deps = replace(
            self.witness._deps, now=lambda: self.now, deliveries=self.counters, provoke=self.provoke, repeat=self.repeat
        )

    async def provoke(self, _: str) -> None:
        self.now += 0.1
        self.witness.packet(replace(ECHO_REPLY, at=self.now))

    def counters(self) -> dict[int, Deliveries]:
        self.read += 1
        return dict(self.moved)

    def repeat(self, work: Callable[[], object]) -> Stop:
        self._work = work
        return self.stop

    def stop(self) -> None:
        self._work, self.stopped = None, True

    def wait(self, seconds: float = 0.25) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.now += TICK_S
            if self._work is not None:
                self._work()

    def arrives(self) -> Packet:
        """A copy comes, and no socket gets it; what the capture will hand over."""
        tok = token(KEY, HERE, Protocol.UDP, PORT, self.copies)
        self.copies += 1
        self.moved[4] = Deliveries(noports=self.copies)
        self.now += 0.01
        return replace(packet(SOURCE, 40_000, Protocol.UDP, tok), at=self.now)

    async def arm(self, name: str = "R1") -> None:
        order = arm(name, KEY, "dev-1", Protocol.UDP)
        await self.witness.arm(
            msgspec.structs.replace(order, kind=RoundKind.NOPORTS, groups=((1, PortSet.of([PORT])),))
        )


def told(groups: tuple[NoPortsGroup, ...]) -> list[tuple[int, int]]:
    [row] = groups
    assert all(slot.seconds < 0.35 for slot in row.slots)
    return [(slot.arrived, slot.noports) for slot in row.slots]


def test_the_witness_has_a_reading_of_each_tick_of_such_a_round() -> None:
    async def play() -> tuple[NoPortsGroup, ...]:
        pulse = Pulse()
        await pulse.arm()
        for _ in range(3):
            pulse.wait()
            pulse.witness.tick()
            pulse.witness.packet(pulse.arrives())
        pulse.wait()
        return (await pulse.witness.close("R1")).groups

    assert told(asyncio.run(play())) == [(1, 1), (0, 0), (1, 1), (0, 0), (1, 1)]


def test_a_loop_that_stands_still_for_seconds_misses_no_slot() -> None:
    """The capture hands over all copies at the end of it, in a row and with no tick between."""

    async def play() -> tuple[NoPortsGroup, ...]:
        pulse, waiting = Pulse(), []
        await pulse.arm()
        for _ in range(4):
            pulse.wait(3.0)
            waiting.append(pulse.arrives())
            pulse.wait()
        for one in waiting:
            pulse.witness.packet(one)
        return (await pulse.witness.close("R1")).groups

    [row] = asyncio.run(play())
    assert [(slot.arrived, slot.noports) for slot in row.slots] == [(1, 1), (0, 0)] * 3 + [(1, 1)]


def test_copies_that_the_capture_had_not_handed_over_at_the_last_reading_are_in_no_slot() -> None:
    """They moved the counters, and not all of them are there to be held against that."""

    async def play() -> tuple[NoPortsGroup, ...]:
        pulse = Pulse()
        await pulse.arm()
        for _ in range(3):
            pulse.wait()
            pulse.witness.packet(pulse.arrives())
        pulse.wait()
        waiting: list[Packet] = []

        async def sleep(_: float) -> None:
            waiting.append(pulse.arrives())
            pulse.wait()  # readings go on
            pulse.witness.packet(waiting[0])

        assert pulse.witness._deps is not None
        pulse.witness._deps = replace(pulse.witness._deps, sleep=sleep)
        return (await pulse.witness.close("R1")).groups

    assert told(asyncio.run(play())) == [(1, 1), (0, 0)] * 3


def test_the_counters_are_read_only_while_groups_are_awaited() -> None:
    async def play() -> None:
        pulse = Pulse()
        await pulse.witness.arm(arm("R0", KEY, "dev-1", Protocol.UDP))
        before = pulse.read
        pulse.wait()
        assert pulse.read == before
        await pulse.arm("R1")
        await pulse.arm("R2")
        before = pulse.read
        pulse.wait()
        assert pulse.read > before + 10
        await pulse.witness.close("R1")
        assert not pulse.stopped
        await pulse.witness.close("R2")
        assert pulse.stopped

    asyncio.run(play())


def test_a_round_that_is_never_closed_ends_the_readings_too() -> None:
    async def play() -> bool:
        pulse = Pulse()
        await pulse.arm()
        pulse.now += 1e6
        pulse.witness.tick()
        return pulse.stopped

    assert asyncio.run(play())


def test_a_slot_in_which_the_wall_clock_was_moved_tells_nothing() -> None:
    """It stamps the packets: what waited for the capture's reader meanwhile seems to have come at another time."""
    host = Host(LOW)
    host.on_slots(LOW, 2)
    host.burst(LOW)
    host.ahead += 0.5
    host.wait(0.25)
    host.on_slots(LOW, 2)
    [row] = host.groups.rows()
    assert [s.arrived for s in row.slots if s.arrived] == [5] * 4


def test_nor_does_one_that_is_looked_at_when_it_was_just_moved() -> None:
    host = Host(LOW)
    host.on_slots(LOW, 3)
    host.ahead += 0.5  # no reading shows it yet
    host.burst(LOW)
    [row] = host.groups.rows()
    assert [s.arrived for s in row.slots if s.arrived] == [5] * 2


def test_what_the_host_sends_to_its_own_dead_ports_is_counted_with_the_rest() -> None:
    """It moves NoPorts as well: else a host whose firewall drops everything would look as if it had let as much through."""
    own = Packet(1.2, True, True, "lo", 4, "127.0.0.1", "127.0.0.1", 64, 17, 40_000, 8125)

    def feed(witness: Witness) -> None:
        witness.packet(own)
        witness.packet(replace(own, incoming=False, to_host=False))
        witness.packet(replace(own, protocol=6))
        witness.packet(packet(SOURCE, 40_000, Protocol.UDP, token(KEY, HERE, Protocol.UDP, PORT, 0)))

    [report] = witness_of(feed, arm("R1", KEY, "dev-1", Protocol.UDP))
    assert [(h.udp_unbound, h.noports) for h in report.health] == [(2, 0)]


def test_health_says_what_moved_over_the_round_and_whether_the_host_forwards() -> None:
    async def play(*facts: HostFacts) -> tuple[object, ...]:
        witness, read = new_witness(), iter(facts)
        assert witness._deps is not None
        witness._deps = replace(witness._deps, facts=lambda: next(read))
        await witness.arm(arm("R1", KEY, "dev-1", Protocol.UDP))
        [found] = (await witness.close("R1")).health
        return found.noports, found.delivered, found.forwarded, found.forwards

    before = HostFacts(deliveries={4: Deliveries(1, 2, 0, 3)})
    after = HostFacts(deliveries={4: Deliveries(2, 4, 0, 6)})
    assert asyncio.run(play(before, after)) == (1, 2, 3, False)
    assert asyncio.run(play(replace(before, forwards=frozenset({4})), after)) == (1, 2, 3, True)
    assert asyncio.run(play(before, replace(after, forwards=frozenset({6})))) == (1, 2, 3, False)
