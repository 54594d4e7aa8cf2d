"""The host's counters told apart by slots: what moved while copies of a group came in, and what moved in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from probes.host.counters import HostFacts
from probes.host.deliveries import Deliveries
from probes.packets.parse import Packet
from probes.packets.token import token
from probes.witness.noports import Groups, Reading
from probes.witness.readings import EVERY_S
from probes.witness.witness import SURE_S, Witness
from reachability.arrival import CounterSlot, NoPortsGroup
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
        self.groups = Groups([(2, ports) for ports in groups], (TARGET,), self.reading())

    def reading(self) -> Reading:
        counters = Deliveries(noports=self.noports + int(self.now * self.noise))
        return Reading(self.now, self.now + 0.001, {4: counters, 6: Deliveries()})

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


@pytest.mark.parametrize(
    ("late_s", "slots"),
    [
        (0.0, [(1, 1), (0, 0), (1, 1), (0, 0), (1, 1)]),
        (SURE_S - 1, [(1, 1), (0, 0), (1, 1), (0, 0), (1, 1)]),
        (SURE_S, []),
    ],
    ids=["at once", "late", "too late to be sure when they came"],
)
def test_slots_are_told_apart_by_when_copies_came_whenever_they_are_looked_at(
    late_s: float, slots: list[tuple[int, int]]
) -> None:
    """The loop may stand still for seconds while the counters are read beside it."""

    async def play() -> tuple[NoPortsGroup, ...]:
        clock = [1.0]
        witness = new_witness()
        came: list[Packet] = []
        assert witness._deps is not None
        moved = {4: Deliveries(delivered=0), 6: Deliveries()}

        async def provoke(_: str) -> None:
            witness.packet(replace(ECHO_REPLY, at=clock[0]))

        witness._deps = replace(witness._deps, now=lambda: clock[0], deliveries=lambda: dict(moved), provoke=provoke)
        order = arm("R1", KEY, "dev-1", Protocol.UDP)
        await witness.arm(msgspec.structs.replace(order, kind=RoundKind.NOPORTS, groups=((1, PortSet.of([PORT])),)))
        for copy in range(3):
            for _ in range(10):
                clock[0] += EVERY_S
                witness.readings.read()
            clock[0] += 0.01
            came.append(
                replace(packet(SOURCE, 40_000, Protocol.UDP, token(KEY, HERE, Protocol.UDP, PORT, copy)), at=clock[0])
            )
            if not late_s:
                witness.packet(came.pop())
            moved[4] = Deliveries(delivered=copy + 1)
        clock[0] += 0.1
        witness.readings.read()
        clock[0] += late_s
        for each in came:
            witness.packet(each)
        return (await witness.close("R1")).groups

    found = asyncio.run(play())
    assert [(s.arrived, s.delivered) for row in found for s in row.slots] == slots
    assert all(isinstance(s, CounterSlot) for row in found for s in row.slots)


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
