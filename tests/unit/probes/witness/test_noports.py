"""The host's counters told apart by slots: what moved while copies of a group came in, and what moved in between."""

from __future__ import annotations

from collections.abc import Callable

from probes.host.deliveries import Deliveries
from probes.witness.noports import Groups, Reading
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol

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
